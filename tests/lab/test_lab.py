"""The lab itself: its counters tell the truth, its Slurm runs jobs, and it comes and goes without a trace."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

STATE_DIR = Path("/var/lib/hpcfrugal-lab")
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
NODES = ("n1", "n2", "n3", "n4")
ZONES = {
    "package-0": "intel-rapl:0",
    "core-0": "intel-rapl:0:0",
    "dram-0": "intel-rapl:0:1",
    "package-1": "intel-rapl:1",
    "core-1": "intel-rapl:1:0",
    "dram-1": "intel-rapl:1:1",
    "psys": "intel-rapl:2",
}

# Runs inside a node as a plain user. Waits for a counter to change, so that the time is that of the value, and again
# where something else ran meanwhile.
READ_RAPL = r"""
import json, sys, time
def now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
zones = json.loads(sys.argv[1]); stop = time.monotonic() + float(sys.argv[2])
files = {n: open(f"/sys/class/powercap/{z}/energy_uj") for n, z in zones.items()}
def read(name):
    files[name].seek(0)
    return int(files[name].read())
def sample(name):
    while True:
        begun, old = now(), read(name)
        while True:
            before, begun = begun, now()
            if (new := read(name)) != old:
                break
        after = now()
        if after - before < 1_000_000:
            return (before + after) // 2, new
first = {n: sample(n) for n in zones}
total = {n: 0 for n in zones}; wraps = {n: 0 for n in zones}
last = {n: value for n, (_, value) in first.items()}
ranges = {n: int(open(f"/sys/class/powercap/{z}/max_energy_range_uj").read()) for n, z in zones.items()}
def add(name, value):
    wraps[name] += value < last[name]
    total[name] += (value - last[name]) % (ranges[name] + 1)
    last[name] = value
while time.monotonic() < stop:
    time.sleep(0.5)
    for n in zones:
        add(n, read(n))
out = {}
for n in zones:
    t, value = sample(n)
    add(n, value)
    out[n] = [first[n][0], t, total[n], wraps[n]]
print(json.dumps(out))
"""

READ_NVML = r"""
import json, sys, time
sys.path.insert(0, sys.argv[1])
import pynvml
def now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
def joules(handle):
    while True:
        before, energy_mj, after = now(), pynvml.nvmlDeviceGetTotalEnergyConsumption(handle), now()
        if after - before < 1_000_000:
            return (before + after) // 2, energy_mj
pynvml.nvmlInit()
handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
first = [joules(h) for h in handles]
time.sleep(3)
last = [joules(h) for h in handles]
print(json.dumps([
    {"uuid": pynvml.nvmlDeviceGetUUID(h), "name": pynvml.nvmlDeviceGetName(h),
     "bus": pynvml.nvmlDeviceGetPciInfo(h).busId, "watts": pynvml.nvmlDeviceGetPowerUsage(h) / 1000,
     "from_ns": a[0], "to_ns": b[0], "energy_mj": b[1] - a[1]}
    for h, a, b in zip(handles, first, last)
]))
pynvml.nvmlShutdown()
"""

NVML_ERROR = r"""
import sys
sys.path.insert(0, sys.argv[1])
import pynvml
try:
    pynvml.nvmlInit()
    pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByIndex(0))
    print("fine")
except pynvml.NVMLError as error:
    print(type(error).__name__)
"""


def seconds(ns: int) -> str:
    return f"{ns // 10**9}.{ns % 10**9:09d}"


def pynvml_folder() -> str:
    """Where alice finds pynvml: a copy, for this source tree may lie where she cannot look."""
    folder = STATE_DIR / "pynvml"
    folder.mkdir(exist_ok=True)
    spec = importlib.util.find_spec("pynvml")
    assert spec is not None
    assert spec.origin is not None
    shutil.copyfile(spec.origin, folder / "pynvml.py")
    return str(folder)


@pytest.fixture(autouse=True, scope="module")
def installed(lab) -> None:
    lab.install()


def in_node(lab, node: str, script: str, *words: str):
    return lab.exec(["/usr/bin/python3", "-c", script, *words], user="alice", node=node)


def slurm_job(lab, tmp_path: Path, script: str, *options: str, user: str = "alice") -> tuple[int, str]:
    """Exit code of `sbatch --wait` and the job's output."""
    home = pwd.getpwnam(user).pw_dir
    out = f"{home}/{tmp_path.name}.out"
    done = lab.exec(["sbatch", "--wait", "-o", out, *options, "--wrap", script], user=user, cwd=home, check=False)
    text = Path(out).read_text() if Path(out).exists() else done.stderr
    return done.returncode, text


takes_it_down = pytest.mark.skipif(
    "HPCFRUGAL_LAB_DOWN" not in os.environ, reason="takes the lab down; HPCFRUGAL_LAB_DOWN=1 runs it"
)


class TestTruth:
    def test_c_and_python_agree_exactly(self, lab):
        code = (
            "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, sys.argv[1])\n"
            "from labkit import hardware, waveform\n"
            "for d in hardware.DOMAINS: print(d.node, d.name, waveform.counter_uj(d, int(sys.argv[2])))"
        )
        daemon = lab.state_dir / "build" / "rapl_daemon"
        for boottime_ns in (0, 1, 2_999_999_999, 86_400 * 10**9 + 123_456_789, 400 * 86_400 * 10**9 + 7):
            args = [str(SCRIPTS), str(boottime_ns)]
            python = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
            c = subprocess.run([daemon, "print", str(boottime_ns)], capture_output=True, text=True, check=True)
            assert c.stdout == python.stdout
            assert c.stdout.count("\n") == 36

    def test_powers_are_what_the_manual_says(self, lab):
        # 30,000 s hold a whole number of every wave of n1, so the means are exact.
        watts = {name: uj / 30_000e6 for name, uj in lab.truth("n1", 0, 30_000, clock="boottime").items()}
        assert watts == pytest.approx(
            {
                "package-0": 100, "core-0": 60, "dram-0": 10, "package-1": 80, "core-1": 45, "dram-1": 8,
                "psys": 260, "gpu-0": 200, "gpu-1": 200,
            },
            rel=1e-9,
        )  # fmt: skip

    def test_additive_to_the_microjoule(self, lab):
        whole = lab.truth("n3", "100.000000001", "107.5", clock="boottime")
        first = lab.truth("n3", "100.000000001", "103.123456789", clock="boottime")
        second = lab.truth("n3", "103.123456789", "107.5", clock="boottime")
        assert whole == {name: first[name] + second[name] for name in whole}

    def test_wall_and_boottime_name_the_same_interval(self, lab):
        # both clocks read within 20 us: what lies between them is a part of the energy of the minute
        for _ in range(10_000):
            wall = time.time_ns()
            boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            if time.time_ns() - wall < 20_000:
                break
        by_wall = lab.truth("n4", seconds(wall - 60 * 10**9), seconds(wall))
        by_boot = lab.truth("n4", seconds(boot - 60 * 10**9), seconds(boot), clock="boottime")
        assert by_wall == pytest.approx(by_boot, rel=1e-4)

    @pytest.mark.parametrize("times", [("5", "4"), ("x", "4"), ("1", "1.0000000001"), ("nan", "4")])
    def test_refuses_nonsense(self, lab, times):
        done = lab.call("truth", "n1", *times, "--clock", "boottime", check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("lab: ")


class TestSensors:
    @pytest.mark.alone
    @pytest.mark.parametrize("node", NODES)
    def test_rapl_follows_the_truth(self, lab, node):
        for name, (from_ns, to_ns, energy_uj, _) in json.loads(
            in_node(lab, node, READ_RAPL, json.dumps(ZONES), "3").stdout
        ).items():
            true_uj = lab.truth(node, seconds(from_ns), seconds(to_ns), clock="boottime")[name]
            assert energy_uj == pytest.approx(true_uj, rel=1e-3), name

    def test_rapl_follows_the_truth_through_a_wrap(self, lab):
        one = json.dumps({"package-1": ZONES["package-1"]})
        ((from_ns, to_ns, energy_uj, wraps),) = json.loads(in_node(lab, "n2", READ_RAPL, one, "42").stdout).values()
        assert wraps >= 1
        true_uj = lab.truth("n2", seconds(from_ns), seconds(to_ns), clock="boottime")["package-1"]
        assert energy_uj == pytest.approx(true_uj, rel=1e-3)

    def test_counter_files_never_read_torn(self, lab):
        script = (
            "import re\n"
            "bad = 0; seen = set()\n"
            "f = open('/sys/class/powercap/intel-rapl:0/energy_uj')\n"
            "while len(seen) < 200:\n"
            "    f.seek(0); text = f.read(); seen.add(text)\n"
            "    bad += not re.fullmatch(r'[0-9]+\\n+', text)\n"
            "print(bad)"
        )
        assert in_node(lab, "n1", script).stdout == "0\n"

    @pytest.mark.alone
    def test_denied_counters(self, lab):
        read = ["cat", "/sys/class/powercap/intel-rapl:0/energy_uj"]
        lab.call("deny", "n4")
        try:
            denied = lab.exec(read, user="alice", node="n4", check=False)
            assert "Permission denied" in denied.stderr
            assert lab.exec(read, user="alice", node="n3").stdout.strip().isdigit()
        finally:
            lab.call("allow", "n4")
        assert lab.exec(read, user="alice", node="n4").stdout.strip().isdigit()

    @pytest.mark.alone
    @pytest.mark.parametrize("node", NODES)
    def test_nvml_follows_the_truth(self, lab, node):
        devices = json.loads(in_node(lab, node, READ_NVML, pynvml_folder()).stdout)
        assert len({device["uuid"] for device in devices}) == 2
        for index, device in enumerate(devices):
            true_uj = lab.truth(node, seconds(device["from_ns"]), seconds(device["to_ns"]), clock="boottime")
            assert device["energy_mj"] * 1000 == pytest.approx(true_uj[f"gpu-{index}"], rel=1e-3)
            assert 80 < device["watts"] < 320
            assert device["bus"].startswith("0000")

    @pytest.mark.alone
    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("NOT_SUPPORTED", "NVMLError_NotSupported"),
            ("NO_PERMISSION", "NVMLError_NoPermission"),
            ("GPU_IS_LOST 0", "NVMLError_GpuIsLost"),
            ("GPU_IS_LOST 1", "fine"),
            ("DRIVER_NOT_LOADED", "NVMLError_DriverNotLoaded"),
        ],
    )
    def test_nvml_faults(self, lab, fault, error):
        lab.call("fault", "n4", fault)
        try:
            assert in_node(lab, "n4", NVML_ERROR, pynvml_folder()).stdout.strip() == error
        finally:
            lab.call("fault", "n4", "none")
        assert in_node(lab, "n4", NVML_ERROR, pynvml_folder()).stdout.strip() == "fine"

    @pytest.mark.alone
    def test_nvml_hang(self, lab):
        lab.call("fault", "n4", "hang 2")
        try:
            began = time.monotonic()
            in_node(lab, "n4", NVML_ERROR, pynvml_folder())
            assert time.monotonic() - began >= 2
        finally:
            lab.call("fault", "n4", "none")

    def test_the_host_sees_none_of_it(self, lab):
        assert lab.exec(["ls", "/sys/class/powercap/intel-rapl:0"], check=False).returncode
        assert in_host_nvml(lab) == "NVMLError_LibraryNotFound"


def in_host_nvml(lab) -> str:
    return lab.exec(["/usr/bin/python3", "-c", NVML_ERROR, pynvml_folder()], user="alice").stdout.strip()


class TestSlurm:
    def test_users_accounts_and_partitions(self, lab):
        shown = lab.exec(["sacctmgr", "-nP", "show", "assoc", "cluster=lab", "format=account,user"]).stdout.split()
        assert {"physics|alice", "biology|alice", "biology|bob"} <= set(shown)
        assert lab.status()["partitions"] == ["batch", "green"]
        assert lab.exec(["sinfo", "-ho", "%P %D", "-p", "batch"]).stdout.split() == ["batch*", "4"]
        who = lab.exec(["bash", "-c", "echo $USER $HOME $PWD $(id -un)"], user="bob").stdout.split()
        assert who == ["bob", "/home/bob", "/home/bob", "bob"]

    def test_an_account_of_another_user_is_refused(self, lab):
        done = lab.exec(["sbatch", "-A", "physics", "--wrap", "true"], user="bob", check=False)
        assert done.returncode
        assert "Invalid account" in done.stderr

    def test_two_nodes_two_gpus_each(self, lab, tmp_path):
        code, text = slurm_job(
            lab,
            tmp_path,
            "srun bash -c 'echo $SLURMD_NODENAME gpus=$CUDA_VISIBLE_DEVICES $(ls -d /sys/class/powercap/intel-rapl:2)'",
            *("-N2", "--ntasks-per-node=1", "--gres=gpu:2", "--exclusive", "-p", "green"),
        )
        assert code == 0, text
        lines = sorted(text.splitlines())
        assert len(lines) == 2
        for line in lines:
            assert re.fullmatch(r"n[1-4] gpus=0,1 /sys/class/powercap/intel-rapl:2", line)

    def test_overlapping_step_beside_the_main_one(self, lab, tmp_path):
        folder = Path(pwd.getpwnam("alice").pw_dir, f"{tmp_path.name}.steps")
        until = "until [ $(ls | wc -l) -{} ]; do sleep 0.1; done"
        code, text = slurm_job(
            lab,
            tmp_path,
            f"rm -rf {folder}; mkdir {folder}; cd {folder}; "
            f"srun --overlap --ntasks-per-node=1 sh -c 'echo side; touch $SLURM_PROCID; {until.format('gt 4')}' & "
            f"{until.format('eq 4')}; srun sh -c 'echo main'; echo then; touch over; wait; exit 3",
            *("-N4", "--ntasks-per-node=1", "--exclusive"),
        )
        assert code == 3
        assert sorted(text.split()) == ["main"] * 4 + ["side"] * 4 + ["then"]
        # What comes of the step beside it is passed on at any time.
        assert [word for word in text.split() if word != "side"][-1] == "then"

    def test_accounting_remembers(self, lab):
        job = lab.exec(["sbatch", "--parsable", "--comment=kept", "-o", "/dev/null", "--wrap", "exit 5"], user="alice")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            row = lab.exec(
                ["sacct", "-nXP", "-j", job.stdout.strip(), "-o", "state,exitcode,comment,account"],
                user="alice",
            ).stdout.strip()
            if row.startswith("FAILED"):
                break
            time.sleep(0.3)
        assert row == "FAILED|5:0|kept|physics"


class TestExec:
    def test_exit_code_streams_directory_and_environment(self, lab):
        done = lab.exec(
            ["bash", "-c", "pwd; echo $A; echo oops >&2; exit 9"],
            user="bob",
            cwd="/tmp",
            env={"A": "b c=d"},
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (9, "/tmp\nb c=d\n", "oops\n")

    def test_nothing_of_the_callers_environment_leaks(self, lab, monkeypatch):
        monkeypatch.setenv("LEAK", "1")
        names = {line.split("=")[0] for line in lab.exec(["/usr/bin/env"], user="alice").stdout.splitlines()}
        assert names - {"TERM"} == {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "SLURM_CONF"}

    def test_a_user_has_no_privileges(self, lab):
        done = lab.exec(["cat", "/etc/shadow"], user="alice", node="n1", check=False)
        assert "Permission denied" in done.stderr


@pytest.mark.alone
class TestComingAndGoing:
    def test_a_second_up_changes_nothing(self, lab):
        before = pids(lab)
        assert "already" in lab.call("up").stdout
        assert pids(lab) == before

    @pytest.mark.parametrize("victims", [("slurmd-n2", "rapl"), ("munged", "slurmctld"), ("mariadbd", "slurmdbd")])
    def test_up_repairs(self, lab, victims):
        for name in victims:
            os.kill(pids(lab)[name], 9)
        # As where the controller was killed in its first five minutes.
        (lab.state_dir / "spool/ctld/assoc_usage").unlink(missing_ok=True)
        assert lab.status()["healthy"] is False
        lab.call("up")
        # A slurmctld that was killed takes a job that ended shortly before for one that runs.
        lab.exec(["scancel", "--user=bob"])
        assert lab.status()["healthy"] is True
        assert lab.exec(["srun", "-N4", "-t1", "hostname"], user="bob").stdout.count("\n") == 4

    @takes_it_down
    def test_down_leaves_nothing(self, lab):
        assert lab.exec(["squeue", "-h"]).stdout == "", "somebody uses the lab"
        lab.exec(["sbatch", "-N4", "--wrap", "srun sleep 600"], user="alice")
        lab.exec(
            ["bash", "-c", "setsid -f sleep 601 >/dev/null 2>&1; touch /tmp/of-alice; mkdir -p /dev/shm/of-alice/x"],
            user="alice",
        )
        with owned_by(lab) as owned:
            wait_for(lambda: (owned.sleepers(600), owned.sleepers(601)) == (4, 1))
            found = owned.processes()
            assert set(pids(lab).values()) <= found.keys()
            assert len([argv for argv in found.values() if argv[0].startswith("slurmstepd: ")]) == 5
            lab.call("down")
            left = owned.processes()
        try:
            assert left == {}
            assert not lab.state_dir.exists()
            assert "hpcfrugal-lab" not in Path("/proc/self/mountinfo").read_text()
            for user in ("alice", "bob"):
                with pytest.raises(KeyError):
                    pwd.getpwnam(user)
                assert not Path("/home", user).exists()
            for path in ("/tmp/of-alice", "/dev/shm/of-alice"):
                assert not Path(path).exists()
            assert "no lab" in lab.call("down").stdout
        finally:
            lab.call("up")

    @takes_it_down
    def test_process_tracking_by_cgroup(self, lab):
        assert lab.exec(["squeue", "-h"]).stdout == "", "somebody uses the lab"
        before = (lab.state_dir / "proctrack").read_text()
        lab.call("up", "--proctrack", "cgroup")
        try:
            shown = lab.exec(["srun", "-N2", "cat", "/proc/self/cgroup"], user="bob").stdout
            assert len(re.findall(r"freezer:/slurm_n[1-4]/uid_\d+/job_\d+/step_0$", shown, re.MULTILINE)) == 2
            # Unlike with linuxproc, a process whose parent has gone still belongs to its job.
            script = "(setsid sleep 602 &); srun sleep 602"
            job = lab.exec(["sbatch", "--parsable", "-o", "/dev/null", "--wrap", script], user="bob").stdout.strip()
            with owned_by(lab) as owned:
                wait_for(lambda: owned.sleepers(602) == 2)
                lab.exec(["scancel", job], user="bob")
                wait_for(lambda: owned.sleepers(602) == 0)
            assert "already" in lab.call("up").stdout
            lab.call("down")
            assert not list(Path("/sys/fs/cgroup").glob("*/slurm_n*"))
        finally:
            lab.call("up", "--proctrack", before)


@dataclass(frozen=True)
class Owned:
    """What tells a process of the lab from any other of this machine: the users that the lab made, the mount namespaces
    of its nodes, its folder, and its environment."""

    uids: frozenset[int]
    namespaces: frozenset[str]
    folder: str

    def processes(self) -> dict[int, list[str]]:
        """The arguments of each of its living processes, by process id; without containers, where the same number may
        be another user."""
        own = os.readlink("/proc/self/ns/pid")
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                alive = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
                if alive and os.readlink(folder / "ns/pid") == own and self._has(folder):
                    found[int(folder.name)] = (folder / "cmdline").read_text().rstrip("\0").split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            except PermissionError:
                continue  # of a container whose first process has more rights than this one
        return found

    def sleepers(self, seconds: int) -> int:
        words = [[Path(argv[0]).name, *argv[1:]] for argv in self.processes().values()]
        return words.count(["sleep", str(seconds)])

    def _has(self, folder: Path) -> bool:
        return (
            folder.stat().st_uid in self.uids
            or os.readlink(folder / "ns/mnt") in self.namespaces
            or os.readlink(folder / "cwd").startswith(self.folder)
            or f"SLURM_CONF={self.folder}/".encode() in (folder / "environ").read_bytes()
        )


@contextmanager
def owned_by(lab) -> Iterator[Owned]:
    with ExitStack() as held:
        # While a file of a namespace is open, no other one gets its number.
        files = [held.enter_context((lab.state_dir / "live" / node / "mnt").open("rb")) for node in NODES]
        uids = frozenset(pwd.getpwnam(user).pw_uid for user in ("alice", "bob"))
        namespaces = frozenset(f"mnt:[{os.stat(file.fileno()).st_ino}]" for file in files)
        yield Owned(uids, namespaces, str(lab.state_dir))


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def pids(lab) -> dict[str, int]:
    return {file.stem: json.loads(file.read_text())[0] for file in (lab.state_dir / "pids").iterdir()}
