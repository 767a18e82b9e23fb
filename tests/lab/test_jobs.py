"""Jobs of alice on a real Slurm cluster: their energy against the truth, their exit codes against plain sbatch."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import SPOOL, STATE_DIR, Lab, sampled_share, until_sampled

pytestmark = pytest.mark.lab

NASTY = "a'; touch /tmp/pwned #"
WEIRD = 'ünï 漢字 $(touch /tmp/pwned) `touch /tmp/pwned` "q" \\ | ; & %j'


class Alice:
    """A user of the lab with hpcfrugal installed and an empty spool."""

    def __init__(self, lab: Lab, name: str = "alice") -> None:
        self.lab = lab
        self.name = name
        self.home = Path(f"/home/{name}")
        self.data = (self.home / SPOOL).parent

    def run(
        self, *argv: str, check: bool = True, cwd: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.lab.exec(argv, user=self.name, cwd=cwd or str(self.home), env=env, check=check)

    def hpcfrugal(self, *argv: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        return self.run("hpcfrugal", *argv, check=check, **more)

    def write(self, name: str, text: str) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.lab.exec(["chown", "-R", f"{self.name}:", str(path.parent if path.parent != self.home else path)])
        return path

    def submit(self, job: dict[str, Any], *, file: str | None = None, env: dict[str, str] | None = None) -> str:
        path = self.write(file or f"{job.get('name', 'job')}.yaml", yaml.safe_dump(job, allow_unicode=True))
        return str(json.loads(self.hpcfrugal("submit", "--json", str(path), env=env).stdout)["job_id"])

    def status(self, *jobs: str) -> dict[str, dict[str, Any]]:
        rows = json.loads(self.hpcfrugal("status", "--json", *jobs).stdout)
        return {row["job_id"]: row for row in rows}

    def wait(self, *jobs: str, timeout_s: float = 200) -> dict[str, dict[str, Any]]:
        until = time.monotonic() + timeout_s
        while True:
            rows = self.status(*jobs)
            if not any(word in row["state"] for row in rows.values() for word in ("PENDING", "RUNNING", "COMPLETING")):
                return rows
            assert time.monotonic() < until, rows
            time.sleep(1)

    def wait_for_samples(self, job_id: str, records: int = 0) -> Path:
        """The run directory of a job on one node whose sidecar has begun, and written so many records."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            for path in self.data.glob(f"spool/*/*/{job_id}.*.jsonl"):
                if path.read_text().count("\n") > records:
                    return path.parent
            time.sleep(0.2)
        raise AssertionError(f"job {job_id} has no samples")

    def elapsed_s(self, job_id: str) -> int:
        """By Slurm, in whole seconds."""
        return int(self.run("sacct", "-XPn", "-j", job_id, "-o", "ElapsedRaw").stdout)

    def sampled_share(self, job_id: str) -> float:
        return sampled_share(self.data.glob(f"spool/*/*/{job_id}.*.jsonl"), self.elapsed_s(job_id))

    def report(self, job_id: str) -> list[dict[str, Any]]:
        self.hpcfrugal("ledger", "sync")
        document = json.loads(self.hpcfrugal("report", job_id, "--json").stdout)
        jobs: list[dict[str, Any]] = document["jobs"]
        return jobs

    def sacct(self, job_id: str) -> list[str]:
        out = self.run("sacct", "-XPn", "-j", job_id, "-o", "State,ExitCode").stdout
        return out.strip().split("|")

    def output(self, job_id: str) -> str:
        return (self.home / f"slurm-{job_id}.out").read_text()


@pytest.fixture(scope="module")
def alice(lab: Lab) -> Iterator[Alice]:
    lab.install()
    one = Alice(lab)
    subprocess.run(["rm", "-rf", one.data], check=True)
    Path("/tmp/pwned").unlink(missing_ok=True)
    yield one
    assert not Path("/tmp/pwned").exists()


LATE_SIDECAR = """#!/bin/sh
# The sidecar's step comes after the steps of the job, and is refused at first.
case "$*" in *--overlap*)
  if mkdir "$HOME/late/refused.$SLURM_JOB_ID"; then sleep 3; echo "srun: error: Unable to create step" >&2; exit 1; fi
esac
exec /usr/bin/srun "$@"
"""

REFUSED = "srun: error: Unable to create step for job: Requested node configuration is not available"
NO_SIDECAR = f"""#!/bin/sh
# The sidecar's step is always refused.
case "$*" in *--overlap*) echo "{REFUSED}" >&2; exit 1 ;; esac
exec /usr/bin/srun "$@"
"""

COMPUTE = """
echo "on $(hostname) with $SLURM_JOB_NUM_NODES nodes, GPUs $CUDA_VISIBLE_DEVICES"
end=$((SECONDS + 45))
while [ $SECONDS -lt $end ]; do :; done
echo to stderr >&2
exit 3
"""
LONG = f"{until_sampled(nodes=2)}\n{COMPUTE}"


@pytest.fixture(scope="module")
def jobs(alice: Alice) -> dict[str, str]:
    """All jobs that need nothing done to them on the way, submitted at once."""
    late = alice.write("late/srun", LATE_SIDECAR)
    late.chmod(0o755)
    late_path = {"PATH": f"{late.parent}:{STATE_DIR}/venv/bin:/usr/bin:/bin"}
    never = alice.write("never/srun", NO_SIDECAR)
    never.chmod(0o755)
    two_nodes = {"nodes": 2, "gpus_per_node": 2, "exclusive": True, "time": 5}
    found = {
        "long-one": alice.submit(
            {"name": "long-one", "command": LONG, "resources": {**two_nodes, "nodelist": "n[1-2]"}}
        ),
        "no-python": alice.submit(
            {"name": "no-python", "command": "echo ran; exit 4"},
            env={"HPCFRUGAL_SIDECAR_PYTHON": "/no/such/python3"},
        ),
        "array": alice.submit(
            {"name": "array", "command": "sleep 1; exit $SLURM_ARRAY_TASK_ID", "resources": {"array": "0-2"}}
        ),
        "hostile": alice.submit(
            {
                "name": NASTY + WEIRD,
                "command": f'printf \'%s|\' "$A" "$PWD"; echo "{NASTY}"',
                "workdir": str(alice.write(f"{NASTY}/x", "").parent),
                "env": {"A": NASTY + WEIRD + "\nsecond line", "MY_API_KEY": "hunter2"},
                "tags": {"project": NASTY + WEIRD, NASTY: WEIRD},
                "mail": {"user": NASTY},
                "output": "out of %j.txt",
            },
            file=f"{NASTY}.yaml",
        ),
        "per-gpu": alice.submit(
            {
                "name": "per-gpu",
                "command": "sleep 2; srun -n2 hostname",
                "resources": {"nodes": 2, "gpus": 2},
                "sbatch": ["--ntasks-per-gpu=1"],
            }
        ),
        **{
            name: alice.submit(
                {
                    "name": name,
                    "command": f"srun sh -c '{until_sampled(nodes=2)}; sleep 5'",
                    "resources": {"nodes": 2, "ntasks": 2, **memory},
                },
                env=late_path,
            )
            for name, memory in (
                ("mem-default", {}),
                ("mem-per-cpu", {"mem_per_cpu": "300M"}),
                ("mem", {"mem": "800M"}),
            )
        },
        "refused": alice.submit(
            {"name": "refused", "command": "srun sleep 5", "resources": {"nodes": 2, "ntasks": 2}},
            env={"PATH": late_path["PATH"].replace(str(late.parent), str(never.parent))},
        ),
        "long": alice.submit({"name": "x" * 300, "command": "true", "tags": {"project": "y" * 300}}, file="long.yaml"),
    }
    script = alice.write("train.sh", '#!/bin/bash\n#SBATCH -n 1 # one\n#SBATCH --time=2\n\necho "$0 ${1-}"; exit 8\n')
    found["script"] = str(json.loads(alice.hpcfrugal("submit", "--json", str(script)).stdout)["job_id"])
    alice.wait(*found.values())
    return found


def lab_name(domain: str) -> str:
    """``package-0/dram`` is the lab's ``dram-0``."""
    package, slash, kind = domain.partition("/")
    return f"{kind}-{package[-1]}" if slash else domain


def assert_is_the_truth(lab: Lab, job: dict[str, Any]) -> None:
    """Of each channel of the node, from its first to its last reading."""
    assert job["channels"]
    for channel in job["channels"]:
        truths = lab.truths(channel["node"], channel["first_boottime_ns"], channel["last_boottime_ns"])
        least_uj, most_uj = truths[lab_name(channel["domain"])]
        assert least_uj <= round(channel["node_energy_j"] * 1e6) <= most_uj, channel["domain"]


def test_energy_is_the_truth(alice: Alice, jobs: dict[str, str]) -> None:
    (job,) = alice.report(jobs["long-one"])
    assert (job["exit_code"], job["state"], job["nodes"]) == (3, "FAILED", ["n1", "n2"])
    assert job["coverage"] == pytest.approx(alice.sampled_share(jobs["long-one"]), abs=0.01)
    assert job["modelled_j"] is None
    assert job["boundary"] == "components"
    assert_is_the_truth(alice.lab, job)
    seen = set()
    for channel in job["channels"]:
        assert channel["last_boottime_ns"] - channel["first_boottime_ns"] > 40 * 10**9
        assert channel["quality"] == "measured"
        if channel["counted"]:
            assert channel["energy_j"] == channel["node_energy_j"]  # it had the nodes to itself
            seen.add((channel["node"], lab_name(channel["domain"])))
    domains = ("package-0", "package-1", "dram-0", "dram-1", "gpu-0", "gpu-1")
    assert seen == {(node, domain) for node in ("n1", "n2") for domain in domains}
    counted = sum(Decimal(str(c["energy_j"])) for c in job["channels"] if c["counted"])
    assert Decimal(str(job["energy_j"]["total"])) == counted


def test_a_counter_wrapped_meanwhile(alice: Alice, jobs: dict[str, str]) -> None:
    """n2's package 1 turns over every 39 s, so 45 s hold at least one turn."""
    (job,) = alice.report(jobs["long-one"])
    (channel,) = [c for c in job["channels"] if (c["node"], c["domain"]) == ("n2", "package-1")]
    zone = "/sys/class/powercap/intel-rapl:1/max_energy_range_uj"
    range_uj = int(alice.lab.exec(["cat", zone], node="n2").stdout)
    assert channel["energy_j"] * 1e6 > range_uj


def test_exit_code_and_output_are_those_of_plain_sbatch(alice: Alice, jobs: dict[str, str]) -> None:
    command = COMPUTE.replace("45", "1")
    plain_script = alice.write("plain.sh", f"#!/bin/bash\n{command}")
    options = ["--nodes=2", "--gpus-per-node=2", "--exclusive", "--nodelist=n[1-2]"]
    plain = alice.run("sbatch", "--parsable", *options, str(plain_script)).stdout.strip()
    until = time.monotonic() + 60
    while alice.sacct(plain)[0] in {"", "PENDING", "RUNNING"}:
        assert time.monotonic() < until
        time.sleep(1)
    assert alice.sacct(jobs["long-one"]) == alice.sacct(plain) == ["FAILED", "3:0"]
    assert alice.output(jobs["long-one"]) == alice.output(plain)


def test_missing_python_leaves_the_energy_unknown(alice: Alice, jobs: dict[str, str]) -> None:
    (job,) = alice.report(jobs["no-python"])
    assert (job["exit_code"], alice.output(jobs["no-python"])) == (4, "ran\n")
    assert job["energy_j"]["total"] is None
    assert job["measured_j"] is None


def test_options_of_the_job_do_not_keep_the_sidecar_from_its_nodes(alice: Alice, jobs: dict[str, str]) -> None:
    (job,) = alice.report(jobs["per-gpu"])
    assert (job["exit_code"], len(job["nodes"])) == (0, 2)
    assert {channel["node"] for channel in job["channels"] if channel["quality"] == "measured"} == set(job["nodes"])
    assert len(alice.output(jobs["per-gpu"]).splitlines()) == 2


@pytest.mark.parametrize(("name", "mib"), [("mem-default", 500), ("mem-per-cpu", 300), ("mem", 800)])
def test_the_sidecar_starts_beside_a_step_that_holds_the_memory(
    alice: Alice, jobs: dict[str, str], name: str, mib: int
) -> None:
    """Its step comes second, and again after it was refused."""
    (job,) = alice.report(jobs[name])
    assert (job["exit_code"], len(job["nodes"]), len(job["sidecar_sessions"])) == (0, 2, 2)
    assert job["coverage"] == pytest.approx(alice.sampled_share(jobs[name]), abs=0.01)
    headers = [path.read_text().partition("\n")[0] for path in alice.data.glob(f"spool/*/*/{jobs[name]}.*.jsonl")]
    assert [json.loads(header)["memory_alloc_b"] for header in headers] == [mib * 2**20] * 2


def test_a_sidecar_that_never_started_is_named(alice: Alice, jobs: dict[str, str]) -> None:
    (job,) = alice.report(jobs["refused"])
    assert (job["exit_code"], job["energy_j"]["total"], job["sidecar_log"]) == (0, None, REFUSED)
    shown = alice.hpcfrugal("report", jobs["refused"]).stdout
    assert f"the sidecar's log ends: {REFUSED}" in " ".join(shown.split())


def test_array_tasks_are_jobs_of_their_own(alice: Alice, jobs: dict[str, str]) -> None:
    found = alice.report(jobs["array"])
    assert sorted((job["array_task_id"], job["exit_code"]) for job in found) == [("0", 0), ("1", 1), ("2", 2)]
    assert {job["array_job_id"] for job in found} == {jobs["array"]}


def test_hostile_names_are_data(alice: Alice, jobs: dict[str, str]) -> None:
    (job,) = alice.report(jobs["hostile"])
    assert (job["exit_code"], job["name"]) == (0, NASTY + WEIRD)
    assert job["tags"][NASTY] == WEIRD
    workdir = alice.home / NASTY
    text = (workdir / f"out of {jobs['hostile']}.txt").read_text()
    assert text == f"{NASTY}{WEIRD}\nsecond line|{workdir}|{NASTY}\n"
    table = alice.hpcfrugal("report", jobs["hostile"]).stdout
    assert "a'; touch /tmp/pwned #" in table
    documents = list(alice.data.glob("spool/*/*/run.json"))
    assert documents
    for path in (*documents, alice.data / "ledger.db"):
        assert b"hunter2" not in path.read_bytes()


def test_three_hundred_characters(alice: Alice, jobs: dict[str, str]) -> None:
    (job,) = alice.report(jobs["long"])
    assert (job["name"], job["exit_code"], job["project"]) == ("x" * 300, 0, "y" * 300)


def test_existing_script_is_kept(alice: Alice, jobs: dict[str, str]) -> None:
    (job,) = alice.report(jobs["script"])
    assert (job["exit_code"], job["name"]) == (8, "train.sh")
    (run_dir,) = [path.parent for path in alice.data.glob(f"spool/*/*/{jobs['script']}.0.end.json")]
    script = (run_dir / "script.sbatch").read_text()
    assert "#SBATCH -n 1 # one\n#SBATCH --time=2\n" in script
    assert (run_dir / "script.user").read_text() == (alice.home / "train.sh").read_text()


def test_dry_run_prints_what_would_be_submitted(alice: Alice, jobs: dict[str, str]) -> None:
    (run_dir,) = [path.parent for path in alice.data.glob(f"spool/*/*/{jobs['long-one']}.0.end.json")]
    printed = alice.hpcfrugal("submit", "--dry-run", str(alice.home / "long-one.yaml")).stdout
    dry_id = printed.split("for run ")[1].split(".")[0]
    submitted = (run_dir / "script.sbatch").read_text()
    assert printed.replace(dry_id, run_dir.name) == submitted


def until_told(alice: Alice, name: str) -> str:
    """A job with a node to itself that goes on until there is a file ``NAME.end``."""
    (alice.home / f"{name}.end").unlink(missing_ok=True)
    command = f"until [ -e {alice.home}/{name}.end ]; do sleep 0.2; done; exit 6"
    return alice.submit(
        {"name": name, "command": command, "energy": {"record": 2}, "resources": {"exclusive": True, "time": 5}}
    )


def test_kills_and_an_unwritable_directory(alice: Alice) -> None:
    """kill -9 of the sidecar, of the whole job, and a directory that becomes unwritable, each on a node of its own."""
    names = ("sidecar", "job", "unwritable")
    with ThreadPoolExecutor() as pool:
        ids = dict(zip(names, pool.map(lambda name: until_told(alice, name), names), strict=True))
    dirs = {name: alice.wait_for_samples(job_id, records=3) for name, job_id in ids.items()}
    subprocess.run(["pkill", "-KILL", "-f", f"{dirs['sidecar']}/sidecar.pyz"], check=True)
    alice.run("scancel", "--signal=KILL", ids["job"])
    dirs["unwritable"].chmod(0o500)
    without_s = 5
    time.sleep(without_s)
    for name in names:
        alice.write(f"{name}.end", "")
    alice.wait(*ids.values())

    assert alice.sacct(ids["sidecar"]) == ["FAILED", "6:0"]
    (job,) = alice.report(ids["sidecar"])
    assert job["exit_code"] == 6
    assert_is_the_truth(alice.lab, job)
    assert job["coverage"] == pytest.approx(alice.sampled_share(ids["sidecar"]), abs=0.01)
    # Slurm's times are whole seconds.
    assert 0 < job["coverage"] <= 1 - (without_s - 1) / alice.elapsed_s(ids["sidecar"])

    (job,) = alice.report(ids["job"])
    assert job["state"] in {"CANCELLED", "FAILED"}
    assert_is_the_truth(alice.lab, job)
    assert job["coverage"] == pytest.approx(alice.sampled_share(ids["job"]), abs=0.01)

    assert alice.sacct(ids["unwritable"]) == ["FAILED", "6:0"]
    synced = alice.hpcfrugal("ledger", "sync")
    assert "warning" in synced.stderr
    (job,) = alice.report(ids["unwritable"])
    assert_is_the_truth(alice.lab, job)
    dirs["unwritable"].chmod(0o700)
    (job,) = alice.report(ids["unwritable"])
    assert (job["exit_code"], job["state"]) == (6, "FAILED")


def test_signal_to_the_batch_shell(alice: Alice) -> None:
    command = "trap 'echo caught; exit 9' USR1; echo ready; for i in $(seq 100); do sleep 0.2; done"
    job_id = alice.submit({"name": "signal", "command": command})
    alice.wait_for_samples(job_id)
    alice.run("scancel", "--batch", "--signal=USR1", job_id)
    alice.wait(job_id)
    (job,) = alice.report(job_id)
    assert (job["exit_code"], alice.output(job_id)) == (9, "ready\ncaught\n")


def test_cancel_and_requeue(alice: Alice) -> None:
    command = "[ ${SLURM_RESTART_COUNT:-0} -gt 0 ] && exit 2; sleep 100"
    job_id = alice.submit({"name": "again", "command": command, "resources": {"exclusive": True}})
    cancelled = until_told(alice, "cancelled")
    alice.wait_for_samples(job_id)
    alice.run("scontrol", "requeue", job_id)
    # Slurm lets a requeued job wait for two minutes; a test need not.
    until = time.monotonic() + 30
    while alice.run("squeue", "-h", "-j", job_id, "-o", "%T").stdout.strip() != "PENDING":
        assert time.monotonic() < until
        time.sleep(0.5)
    time.sleep(2)  # slurmd refuses a job whose credential it revoked within the same second
    alice.run("scontrol", "update", f"JobId={job_id}", "StartTime=now")
    alice.wait_for_samples(cancelled)
    alice.hpcfrugal("cancel", cancelled)
    until = time.monotonic() + 180
    while not list(alice.data.glob(f"spool/*/*/{job_id}.1.end.json")):
        assert time.monotonic() < until
        time.sleep(1)
    alice.wait(job_id, cancelled)
    restarts = alice.report(job_id)
    assert [job["restart"] for job in restarts] == [0, 1]
    assert restarts[1]["exit_code"] == 2
    assert restarts[0]["exit_code"] != 2
    (job,) = alice.report(cancelled)
    assert job["state"] == "CANCELLED"


def test_wait_ends_with_the_code_of_the_job(alice: Alice) -> None:
    path = alice.write("waited.yaml", "command: sleep 1; exit 5\n")
    done = alice.hpcfrugal("submit", "--wait", "--json", str(path), check=False)
    assert done.returncode == 5
    document = json.loads(done.stdout)
    assert [job["exit_code"] for job in document["jobs"]] == [5]


def test_ledger_is_an_index_of_the_spool(alice: Alice, jobs: dict[str, str]) -> None:
    alice.hpcfrugal("ledger", "sync")
    before = alice.hpcfrugal("ledger", "export").stdout
    assert jobs["long-one"] in before
    for _ in range(10):
        alice.hpcfrugal("ledger", "sync")
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(alice.hpcfrugal, "ledger", "sync") for _ in range(2)]
        assert [one.result().returncode for one in both] == [0, 0]
    assert alice.hpcfrugal("ledger", "export").stdout == before
    alice.hpcfrugal("ledger", "rebuild")
    assert alice.hpcfrugal("ledger", "export").stdout == before
    alice.hpcfrugal("ledger", "check")
    assert (alice.data / "ledger.db").stat().st_mode & 0o777 == 0o600


def test_others_see_nothing(alice: Alice, jobs: dict[str, str]) -> None:
    bob = Alice(alice.lab, "bob")
    assert bob.run("ls", str(alice.data / "spool"), check=False).returncode != 0
    done = bob.hpcfrugal("status", "--json", jobs["long-one"], check=False)
    assert done.returncode == 2
    assert "is not a job that you submitted" in done.stderr


def test_refused_job_leaves_nothing(alice: Alice) -> None:
    before = sorted(alice.data.glob("spool/*/*"))
    path = alice.write("refused.yaml", "command: 'true'\nresources: {partition: nowhere}\n")
    done = alice.hpcfrugal("submit", str(path), check=False)
    assert done.returncode == 3
    assert "invalid partition" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(alice.data.glob("spool/*/*")) == before


def test_doctor_on_a_node(alice: Alice) -> None:
    done = alice.run("srun", "--gres=gpu:2", "hpcfrugal", "doctor", "--json")
    findings = json.loads(done.stdout)["findings"]
    ok = {(f["area"], f["subject"]) for f in findings if f["level"] == "ok"}
    assert {("slurm", "controller"), ("slurm", "accounting"), ("sensors", "CPU"), ("sensors", "GPU")} <= ok


OVERRIDES: list[tuple[str, dict[str, Any]]] = [
    ("--gres=gpu:2", {"resources": {"gpus_per_node": 1}}),
    ("--gpus-per-node=1", {"resources": {"gres": "gpu:2"}}),
    ("--mem-per-cpu=100M", {"resources": {"mem": "200M"}}),
    ("--mem=100M", {"resources": {"mem_per_cpu": "200M"}}),
    ("--mem-per-gpu=100M --gpus=1", {"resources": {"mem": "200M"}}),
    ("--cpus-per-gpu=1 --gpus=1", {"resources": {"cpus_per_task": 2}}),
    ("--ntasks-per-gpu=1 --gpus=1", {"resources": {"ntasks_per_node": 2}}),
    ("--ntasks-per-core=1", {"sbatch": ["--hint=nomultithread"]}),
    ("--oversubscribe", {"resources": {"exclusive": "yes"}}),
    ("--time-min=20", {"resources": {"time": 5}}),
]


TORCHRUN = """#!/bin/bash
# As torchrun: processes on each node.
while [[ $1 == --* ]]; do [ "$1" != --no-python ] || python=; shift; done
for LOCAL_RANK in 0 1; do export LOCAL_RANK; ${python-python3} "$@" || exit; done
"""


def test_a_launcher_is_started_once_for_all_lines(alice: Alice) -> None:
    launcher = alice.write("torch/torchrun", TORCHRUN)
    launcher.chmod(0o755)
    lines = 'x=$SLURM_PROCID\necho "$x $LOCAL_RANK"\n'
    path = f"{launcher.parent}:{STATE_DIR}/venv/bin:/usr/bin:/bin"
    found = {
        template: alice.submit(
            {"name": template, "template": template, "command": lines, "setup": "echo once", "resources": {"nodes": 2}},
            env={"PATH": path, "LOCAL_RANK": "-"},
        )
        for template in ("torchrun", "mpi")
    }
    alice.wait(*found.values())
    outputs = {template: sorted(alice.output(job).splitlines()) for template, job in found.items()}
    assert outputs == {"torchrun": ["0 0", "0 1", "1 0", "1 1", "once"], "mpi": ["0 -", "1 -", "once"]}


def test_slurm_accepts_a_job_file_over_what_its_script_says(alice: Alice) -> None:
    files = []
    for number, (options, keys) in enumerate(OVERRIDES):
        alice.write(f"over{number}.sh", f"#!/bin/bash\n#SBATCH {options}\n")
        files.append(str(alice.write(f"over{number}.yaml", yaml.safe_dump({"script": f"over{number}.sh", **keys}))))
    checked = alice.hpcfrugal("submit", "--check", *files).stdout
    assert checked.count("Slurm accepts it") == len(OVERRIDES)
    alice.write("bad.sh", "#!/bin/bash\n#SBATCH --partition=nowhere\n")
    refused = alice.hpcfrugal("submit", "--check", "bad.sh", files[0], check=False)
    assert (refused.returncode, refused.stdout.count("Slurm accepts it")) == (2, 1), refused.stderr
    assert "invalid partition" in refused.stderr
