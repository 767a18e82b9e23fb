"""Rendered scripts really run by bash: whatever the user's commands do, their end is recorded and is the job's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hpcfrugal.job import job_from_mapping
from hpcfrugal.job.render import UserScript, render_script
from hpcfrugal.spool.zipapp import sidecar_zipapp

pytestmark = pytest.mark.slow

RUN_ID = "20261121T000000Z-00000000"


class Job:
    """A rendered script in a run directory of its own, as slurmd would start it on one node."""

    def __init__(
        self, folder: Path, spec: dict[str, Any], *, pythons: list[str], script: UserScript | None = None
    ) -> None:
        self.run_dir = folder / "it's a run"
        self.run_dir.mkdir(mode=0o700, exist_ok=True)
        sidecar_zipapp(self.run_dir / "sidecar.pyz")
        text = render_script(
            job_from_mapping(spec),
            flags=[],
            script=script,
            run_id=RUN_ID,
            run_dir=self.run_dir,
            slurm=True,
            pythons=pythons,
        ).text
        self.script = folder / "slurm_script"
        self.script.write_text(text)
        self.folder = folder
        self.environ = {
            "PATH": os.environ["PATH"],
            "SLURM_JOB_ID": "17",
            "SLURM_CLUSTER_NAME": "c",
            "HOME": str(folder),
        }

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["/bin/bash", self.script],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self) -> tuple[int, str, str]:
        process = self.start()
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def end(self) -> dict[str, Any]:
        data = json.loads((self.run_dir / "17.0.end.json").read_text())
        assert isinstance(data, dict)
        return data

    def lines(self) -> list[dict[str, Any]]:
        paths = list(self.run_dir.glob("17.0.*.jsonl"))
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]

    def wait_for_sidecar(self) -> None:
        until = time.monotonic() + 20
        while not self.lines():
            assert time.monotonic() < until
            time.sleep(0.05)


def job(tmp_path: Path, command: str, **more: Any) -> Job:
    return Job(tmp_path, {"name": "t", "command": command, **more}, pythons=[sys.executable])


@pytest.mark.parametrize(
    ("command", "code", "out"),
    [
        ("echo hello", 0, "hello\n"),
        ("exit 7", 7, ""),
        ("set -e; false; echo never", 1, ""),
        ("set -u; echo $nothing", 1, ""),
        ("exec sh -c 'echo replaced; exit 9'", 9, "replaced\n"),
        ("cd /; pwd", 0, "/\n"),
        ("trap 'echo mine' EXIT; exit 4", 4, "mine\n"),
        ("exit 143", 143, ""),
        ("exit 137", 137, ""),
        ("trap 'exit 143' TERM; kill -TERM $$", 143, ""),
        ("no-such-command-at-all", 127, ""),
        ("if then fi )", 2, ""),
        ('echo "it\'s" \'a "test"\' \\$HOME `echo x` # end', 0, 'it\'s a "test" $HOME x\n'),
        ("cat; echo rest", 0, "rest\n"),
        ("hf_rc=0; hf_run_dir=/nowhere; exit 5", 5, ""),
        ("echo ${hf_command-unset}", 0, "unset\n"),
    ],
)
def test_exit_code_and_output_are_those_of_the_command(tmp_path: Path, command: str, code: int, out: str) -> None:
    one = job(tmp_path, command)
    assert one.run()[:2] == (code, out)
    end = one.end()
    assert (end["exit_code"], end["job_id"], end["restart"]) == (code, "17", 0)
    assert end["started_wall_s"] <= end["ended_wall_s"] <= time.time()


def test_nothing_is_added_to_output(tmp_path: Path) -> None:
    plain = subprocess.run(["bash", "-c", "echo a; echo b >&2"], capture_output=True, text=True, check=True)
    assert job(tmp_path, "echo a; echo b >&2").run() == (0, plain.stdout, plain.stderr)


def test_sidecar_ends_in_order(tmp_path: Path) -> None:
    one = job(tmp_path, "sleep 1.5", energy={"interval": 0.2, "record": 0.4})
    assert one.run()[0] == 0
    lines = one.lines()
    assert [line["kind"] for line in lines[:2]] == ["header", "record"]
    assert lines[-1]["kind"] == "end"
    assert lines[-1]["reason"] == "stopped"
    assert len(lines) >= 5
    # The proxies know that the job did next to nothing.
    assert 0 <= lines[-1]["job_cpu_us"] < 1_000_000


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o2750, 0o640), (0o700, 0o600)])
def test_files_of_a_run_directory_for_a_group_can_be_read_by_it(
    tmp_path: Path, folder_mode: int, file_mode: int
) -> None:
    job = Job(tmp_path, {"command": "true"}, pythons=[sys.executable])
    job.run_dir.chmod(folder_mode)
    job.run()
    written = {path.name: path.stat().st_mode & 0o777 for path in job.run_dir.glob("17.0.*")}
    assert len(written) == 3  # samples, log, end
    assert set(written.values()) == {file_mode}, written


def test_hardware_counters_only_where_the_job_file_says_so(tmp_path: Path) -> None:
    reasons = []
    for name, wanted in (("with", True), ("without", False)):
        folder = tmp_path / name
        folder.mkdir()
        one = job(folder, "exit 0", energy={"hardware_counters": wanted})
        assert one.run()[0] == 0
        reasons.append(one.lines()[0]["usage"]["reasons"].get("hardware_counters"))
    assert reasons[0] != "not requested"
    assert reasons[1] == "not requested"


def test_no_python_changes_nothing_but_the_measurement(tmp_path: Path) -> None:
    one = Job(tmp_path, {"name": "t", "command": "echo ran; exit 3"}, pythons=["/no/such/python", "false"])
    assert one.run() == (3, "ran\n", "")
    assert one.end()["exit_code"] == 3
    assert one.lines() == []
    assert "energy is not measured" in (one.run_dir / "17.0.sidecar.log").read_text()


def test_a_step_that_is_always_refused(tmp_path: Path) -> None:
    """It is asked for again, less and less often; the job has none of it, and the log has the reason."""
    (tmp_path / "bin").mkdir()
    refusal = "srun: error: Unable to create step for job 17: Requested node configuration is not available"
    (tmp_path / "bin" / "srun").write_text(f"#!/bin/sh\necho '{refusal}' >&2\nexit 1\n")
    (tmp_path / "bin" / "srun").chmod(0o755)
    one = job(tmp_path, "echo ran; sleep 4; exit 3")
    one.environ |= {"SLURM_JOB_NUM_NODES": "2", "PATH": f"{tmp_path}/bin:{one.environ['PATH']}"}
    assert one.run() == (3, "ran\n", "")
    assert one.lines() == []
    # After 0, 1 and 3 s.
    assert (one.run_dir / "17.0.sidecar.log").read_text().splitlines() == [refusal] * 3


def test_unmeasured_job_starts_no_sidecar(tmp_path: Path) -> None:
    one = job(tmp_path, "exit 2", energy="off")
    assert one.run() == (2, "", "")
    assert (one.end()["exit_code"], one.lines()) == (2, [])


def test_vanished_run_directory(tmp_path: Path) -> None:
    one = job(tmp_path, "echo ran; exit 3")
    one.run_dir.rename(tmp_path / "away")
    assert one.run() == (3, "ran\n", "")


def test_kill_of_the_sidecar(tmp_path: Path) -> None:
    one = job(tmp_path, "sleep 3; exit 6")
    process = one.start()
    one.wait_for_sidecar()
    killed = subprocess.run(["pkill", "-KILL", "-f", f"{one.run_dir}/sidecar.pyz"], check=False)
    assert killed.returncode == 0
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (6, "", "")
    assert one.lines()[0]["kind"] == "header"


@pytest.mark.parametrize("has_proc", [True, False])
@pytest.mark.alone
def test_a_busy_node_does_not_make_the_end_longer(tmp_path: Path, has_proc: bool) -> None:
    """The wait for a sidecar that does not end is measured by a clock: beside seven loops on the same CPU each new
    process takes long. Also where there is no /proc/uptime, as on a system without it."""
    stuck = tmp_path / "python"
    stuck.write_text("#!/bin/bash\n[ $# -lt 5 ] || exec sleep 60\n")
    stuck.chmod(0o755)
    one = Job(tmp_path, {"name": "t", "command": "sleep 0.5; echo done"}, pythons=[str(stuck)])
    if not has_proc:
        one.script.write_text(one.script.read_text().replace("/proc/uptime", "/no/such/uptime"))
    here = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(here)})
    loops: list[subprocess.Popen[bytes]] = []
    try:
        process = one.start()
        assert process.stdout is not None
        loops = [subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"]) for _ in range(7)]
        os.sched_setaffinity(0, here)
        assert process.stdout.readline() == "done\n"
        begun = time.monotonic()
        process.wait(timeout=30)
        took_s = time.monotonic() - begun
    finally:
        os.sched_setaffinity(0, here)
        for loop in loops:
            loop.kill()
            loop.wait()
        process.communicate()
    assert process.returncode == 0
    assert 0.9 < took_s < 2.2
    assert one.end()["exit_code"] == 0


@pytest.mark.alone
def test_hanging_sidecar_delays_the_end_by_less_than_two_seconds(tmp_path: Path) -> None:
    one = job(tmp_path, "sleep 2; exit 6")
    process = one.start()
    one.wait_for_sidecar()
    subprocess.run(["pkill", "-STOP", "-f", f"{one.run_dir}/sidecar.pyz"], check=True)
    process.communicate(timeout=30)
    assert process.returncode == 6
    end = one.end()
    assert time.time() - end["ended_wall_s"] < 2.5
    # killed, but at the lowest priority: on a busy machine it takes its time to go
    until = time.monotonic() + 10
    while subprocess.run(["pgrep", "-f", f"{one.run_dir}/sidecar.pyz"], check=False).returncode == 0:
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["USR1", "TERM", "INT", "HUP"])
def test_signals_to_the_batch_shell_reach_the_command(tmp_path: Path, name: str) -> None:
    command = f"trap 'echo got {name}' {name}; echo ready; for i in 1 2 3 4 5 6 7 8; do sleep 0.2; done; exit 11"
    process = job(tmp_path, command).start()
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, f"SIG{name}"))
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (11, f"got {name}\n", "")


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "XCPU"])
def test_a_signal_to_all_processes_reaches_the_command_once(tmp_path: Path, name: str) -> None:
    """Of two signals to all processes and one to the batch shell alone, it gets three."""
    program = tmp_path / "count.py"
    program.write_text(
        "import os, signal, time\n"
        "found = []\n"
        f"signal.signal(signal.SIG{name}, lambda *_: (found.append(1), os.write(1, b'got\\n')))\n"
        "print('ready', flush=True)\n"
        "until = time.monotonic() + 20\n"
        "while len(found) < 3 and time.monotonic() < until:\n"
        "    time.sleep(0.05)\n"
        "time.sleep(0.7)\n"
        "print(len(found))\n"
    )
    one = job(tmp_path, f"exec '{sys.executable}' '{program}'")
    process = subprocess.Popen(
        ["/bin/bash", one.script],
        cwd=tmp_path,
        env=one.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in (1, 2, 3)],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    number = getattr(signal, f"SIG{name}")
    os.killpg(process.pid, number)
    assert process.stdout.readline() == "got\n"
    time.sleep(0.7)  # for the shell, which has it too
    process.send_signal(number)
    assert process.stdout.readline() == "got\n"
    time.sleep(0.7)
    os.killpg(process.pid, number)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "got\n3\n")


@pytest.mark.parametrize("teardown", [None, "true"])
def test_the_command_ignores_the_signals_that_it_ignores_under_plain_bash(tmp_path: Path, teardown: str | None) -> None:
    (tmp_path / "plain.sh").write_text("exec grep -E '^Sig(Ign|Blk)' /proc/self/status")
    found = []
    for script in (tmp_path / "plain.sh", job(tmp_path, ". ./plain.sh", teardown=teardown).script):
        done = subprocess.run(
            ["/bin/bash", script],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "SLURM_JOB_ID": "17"},
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in (1, 2, 3, 13)],
        )
        found.append(done.stdout)
    assert found[0] == found[1] != ""


def test_death_by_signal_is_passed_on(tmp_path: Path) -> None:
    one = job(tmp_path, "echo ready; sleep 5; echo never")
    process = one.start()
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGUSR1)
    # The sleep goes on holding the output, as with plain bash; in Slurm the job's end cleans it up.
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGUSR1
    assert one.end()["exit_code"] == 128 + signal.SIGUSR1


def test_user_script_runs_by_its_own_first_line(tmp_path: Path) -> None:
    script = tmp_path / "user script.py"
    script.write_text("import sys; print(sys.argv[1:]); sys.exit(12)")
    spec = {"name": "t", "script": str(script), "args": ["a b", "c'd"]}
    user_script = UserScript([sys.executable], str(script), script.read_text())
    one = Job(tmp_path, spec, pythons=[sys.executable], script=user_script)
    assert one.run() == (12, "['a b', \"c'd\"]\n", "")
    # Slurm keeps its own copy of a script, so a job must not fail for the want of ours.
    script.unlink()
    assert one.run() == (12, "['a b', \"c'd\"]\n", "")


@pytest.mark.parametrize("name", ["SEGV", "TERM", "KILL", "INT", "ABRT"])
@pytest.mark.parametrize("teardown", [None, "true"])
def test_a_script_that_dies_by_a_signal(tmp_path: Path, name: str, teardown: str | None) -> None:
    number = getattr(signal, f"SIG{name}").value
    text = f"import os, signal\nsignal.signal({number}, 0) if {number} != 9 else 0\nos.kill(os.getpid(), {number})"
    script = tmp_path / "die.py"
    script.write_text(text)
    spec = {"name": "t", "script": str(script), "teardown": teardown}
    user_script = UserScript([sys.executable], str(script), text)
    died = Job(tmp_path, spec, pythons=[sys.executable], script=user_script)
    died.script.write_text(died.script.read_text().replace("hf_run_dir=", "ulimit -c 0; hf_run_dir=", 1))
    assert died.run() == (-number, "", "")
    assert died.end()["exit_code"] == 128 + number
    # A shell survives the death of its command, and exits with that code.
    exited = job(tmp_path, f"'{sys.executable}' '{script}' 2>/dev/null; exit $?", teardown=teardown)
    assert exited.run()[0] == 128 + number


@pytest.mark.parametrize("name", ["SEGV", "TERM", "KILL", "HUP", "USR1", "XCPU", "ABRT"])
@pytest.mark.parametrize("teardown", [None, "true"])
def test_a_shell_that_dies_by_its_own_signal(tmp_path: Path, name: str, teardown: str | None) -> None:
    one = job(tmp_path, f"ulimit -c 0; kill -{name} $$; echo never", teardown=teardown)
    number = getattr(signal, f"SIG{name}").value
    assert one.run() == (-number, "", "")
    assert one.end()["exit_code"] == 128 + number


def test_a_program_that_exits_as_if_by_a_signal(tmp_path: Path) -> None:
    script = tmp_path / "exit.py"
    script.write_text("import sys; sys.exit(143)")
    user_script = UserScript([sys.executable], str(script), script.read_text())
    one = Job(tmp_path, {"name": "t", "script": str(script)}, pythons=[sys.executable], script=user_script)
    assert one.run() == (143, "", "")


@pytest.mark.parametrize(("mode", "code"), [(None, 2), (0o644, 13)])
def test_an_interpreter_that_cannot_be_started(tmp_path: Path, mode: int | None, code: int) -> None:
    """The exit code is the error number of execve, as that of slurmstepd."""
    interpreter = tmp_path / "interpreter"
    if mode is not None:
        interpreter.write_text("")
        interpreter.chmod(mode)
    script = UserScript([str(interpreter)], "/run/script.user", "#!x\n")
    one = Job(tmp_path, {"name": "t", "script": "x"}, pythons=[sys.executable], script=script)
    assert one.run() == (code, "", f"the interpreter {interpreter} of the script can't be executed on this node\n")


TORCHRUN = """#!/bin/bash
# As torchrun: two processes, each by Python unless --no-python is given.
python=python3
while [[ $1 == -* ]]; do
  case $1 in --no-python) python= ;; -m) break ;; esac
  shift
done
for LOCAL_RANK in 0 1; do export LOCAL_RANK; $python "$@" || exit; done
"""


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({"command": "train.py 'a b'"}, ["0 ['a b']", "1 ['a b']"]),
        ({"command": "--max-restarts=2 train.py"}, ["0 []", "1 []"]),
        ({"command": "python3 train.py"}, ["0 []", "1 []"]),
        ({"command": 'echo "on $WHERE"\npython3 train.py "it\'s"'}, ["on T", '0 ["it\'s"]', "on T", '1 ["it\'s"]']),
        ({"script": "train.py", "args": ["a b"]}, ["0 ['a b']", "1 ['a b']"]),
    ],
)
def test_torchrun_is_started_once_for_the_whole_command(
    tmp_path: Path, what: dict[str, Any], expected: list[str]
) -> None:
    (tmp_path / "bin").mkdir()
    for name, text in (("torchrun", TORCHRUN), ("srun", '#!/bin/bash\nshift\nexec "$@"\n')):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "train.py").write_text("import os, sys; print(os.environ['LOCAL_RANK'], sys.argv[1:])")
    script = UserScript([sys.executable], str(tmp_path / "train.py"), None) if "script" in what else None
    spec = {"name": "t", "template": "torchrun", "env": {"WHERE": "T"}, "setup": "echo once", **what}
    one = Job(tmp_path, spec, pythons=[sys.executable], script=script)
    one.environ["PATH"] = f"{tmp_path}/bin:{one.environ['PATH']}"
    code, out, err = one.run()
    assert (code, err, out.splitlines()) == (0, "", ["once", *expected])


def test_setup_and_teardown_surround_the_command(tmp_path: Path) -> None:
    one = job(
        tmp_path,
        'echo "$where $OMP"; helper; where=elsewhere; exit 7',
        setup="where=here\nhelper() { echo helped; }\nset -eu",
        teardown='echo "after in $where"; false; echo $nothing; cat',
        env={"OMP": "4"},
    )
    assert one.run() == (7, "here 4\nhelped\nafter in here\n\n", "")
    assert one.end()["exit_code"] == 7


@pytest.mark.parametrize("command", ["if then fi )", "exec false", "kill -KILL $$", "cat <<E"])
def test_teardown_runs_however_the_command_ends(tmp_path: Path, command: str) -> None:
    plain = job(tmp_path, command).run()[0]
    (tmp_path / "torn").mkdir()
    code, out, _ = job(tmp_path / "torn", command, teardown="echo after").run()
    assert (code, out.splitlines()[-1:]) == (plain, ["after"])


def test_a_setup_that_exits_ends_the_job(tmp_path: Path) -> None:
    assert job(tmp_path, "echo never", setup="exit 3", teardown="echo never").run() == (3, "", "")
    assert job(tmp_path, "echo never", setup="set -e\nfalse").run() == (1, "", "")


@pytest.mark.parametrize("name", ["TERM", "USR1"])
def test_signals_reach_the_command_before_a_teardown(tmp_path: Path, name: str) -> None:
    command = f"trap 'echo got; exit 5' {name}; echo ready; while :; do sleep 0.05; done"
    one = job(tmp_path, command, teardown="echo after")
    process = one.start()
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, f"SIG{name}"))
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (5, "got\nafter\n")


def environment_of(tmp_path: Path, spec: dict[str, Any], profile: str, **environ: str) -> str:
    """What a job prints on a node whose /etc/profile is ``profile``."""
    one = Job(tmp_path, {"name": "t", **spec}, pythons=[sys.executable])
    (tmp_path / "profile").write_text(profile)
    one.script.write_text(one.script.read_text().replace("/etc/profile", f"'{tmp_path}/profile'"))
    one.environ |= environ
    code, out, err = one.run()
    assert (code, err) == (0, "")
    return out.replace(str(tmp_path), "T")


PROFILE = """PATH=/usr/bin:/bin; export PATH FROM_PROFILE=yes EDITOR=profile; umask 027
_load() { echo "loaded $2"; export PATH="/module/bin:$PATH" OMP_NUM_THREADS=1; }
module() { _load "$@"; }
"""


def test_modules_keep_the_environment_of_the_submission(tmp_path: Path) -> None:
    spec = {
        "modules": ["gcc/12"],
        "env": {"OMP_NUM_THREADS": 8},
        "command": 'echo "$PATH $OMP_NUM_THREADS $EDITOR $FROM_PROFILE $(umask)"; module load more',
    }
    out = environment_of(tmp_path, spec, PROFILE, PATH=f"/mine:{os.environ['PATH']}", EDITOR="mine")
    mask = os.umask(0)
    os.umask(mask)
    expected = f"/module/bin:/mine:{os.environ['PATH']} 8 mine yes {mask:04o}".replace(str(tmp_path), "T")
    assert out == f"loaded gcc/12\n{expected}\nloaded more\n"


def test_environments_are_activated_over_modules(tmp_path: Path) -> None:
    bin_dir = tmp_path / "conda" / "bin"
    bin_dir.mkdir(parents=True)
    (bin_dir / "conda").write_text(
        '#!/bin/sh\necho \'conda() { [ "$1 $2" = "activate torch" ] && export CONDA_PREFIX=/envs/torch; }\'\n'
    )
    (bin_dir / "conda").chmod(0o755)
    (tmp_path / "v" / "bin").mkdir(parents=True)
    (tmp_path / "v" / "bin" / "activate").write_text("export VIRTUAL_ENV=v PATH=/v/bin:$PATH\n")
    show = {"modules": ["gcc/12"], "command": 'echo "${PATH%%/usr*}"'}
    found = environment_of(tmp_path, {**show, "conda": "torch"}, PROFILE, CONDA_EXE=str(bin_dir / "conda"))
    assert found.splitlines()[1].startswith("/envs/torch/bin:/module/bin:")
    (tmp_path / "second").mkdir()
    found = environment_of(tmp_path / "second", {**show, "venv": str(tmp_path / "v")}, PROFILE)
    assert found.splitlines()[1].startswith("/v/bin:/module/bin:")


@pytest.mark.parametrize(
    "environ",
    [
        {"SHELLOPTS": "errexit"},
        {"SHELLOPTS": "errexit:nounset"},
        {"BASH_ENV": "env.sh"},
    ],
)
@pytest.mark.parametrize("command", ["exit 3", "false; echo never", "echo $nothing; exit 4"])
def test_shell_options_of_the_environment_are_for_the_command(
    tmp_path: Path, environ: dict[str, str], command: str
) -> None:
    (tmp_path / "env.sh").write_text("set -eu\ntrap 'echo debug >>debug.txt' DEBUG\n")
    plain_script = tmp_path / "plain.sh"
    plain_script.write_text(command)
    one = job(tmp_path, command)
    one.environ |= environ
    plain = subprocess.run(
        ["/bin/bash", plain_script], env=one.environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    code, out, _ = one.run()
    assert (code, out) == (plain.returncode, plain.stdout)
    assert one.end()["exit_code"] == code


def test_the_shell_of_the_command_is_itself(tmp_path: Path) -> None:
    command = "trap 'echo got' USR1; kill -USR1 $$; echo after; [ $$ = $BASHPID ] && sleep 60 & pkill -P $$ sleep; wait"
    one = job(tmp_path, command)
    assert one.run() == (0, "got\nafter\n", "")


def test_environment_reaches_the_command_and_not_the_sidecar(tmp_path: Path) -> None:
    value = "$(touch pwned) `id` ' \" \n end"
    one = job(tmp_path, 'printf %s "$NASTY"', env={"NASTY": value, "PATH": os.environ["PATH"], "SLURM_JOB_ID": "99"})
    assert one.run() == (0, value, "")
    assert not (tmp_path / "pwned").exists()
    assert one.end()["job_id"] == "17"


def test_signals_to_everything_do_not_end_the_measurement(tmp_path: Path) -> None:
    # `--signal=TERM@120`, `scancel --full`: the job writes a checkpoint and goes on; so does the sampling.
    one = job(tmp_path, "trap : TERM USR1 ALRM; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.3; done; exit 5")
    process = one.start()
    one.wait_for_sidecar()
    for name in ("TERM", "USR1", "ALRM"):
        subprocess.run(["pkill", f"-{name}", "-f", f"{one.run_dir}/sidecar.pyz"], check=True)
        time.sleep(0.3)
    process.communicate(timeout=30)
    assert process.returncode == 5
    lines = one.lines()
    # TERM may come before a KILL, so it brings a record at once (the interval of records is 10 s here).
    assert [line["kind"] for line in lines] == ["header", "record", "record", "end"]
    assert lines[-1]["boottime_ns"] - lines[2]["boottime_ns"] > 1e9
    assert lines[-1]["reason"] == "stopped"


@pytest.mark.parametrize("turn", range(12))
def test_a_signal_to_every_process_ends_the_job_at_once(tmp_path: Path, turn: int) -> None:
    """As Slurm cancels: CONT and TERM to each process, in no order. Bash's `wait` hung here one time in five."""
    one = job(tmp_path, "sleep 97")
    process = subprocess.Popen(
        ["/bin/bash", one.script], cwd=tmp_path, env=one.environ, stdin=subprocess.DEVNULL, start_new_session=True
    )
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGCONT)
    group = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, text=True, check=True)
    pids = [int(pid) for pid in group.stdout.split()]
    for pid in pids if turn % 2 else reversed(pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    try:
        # 143 where the signal came to the batch shell last, when the commands' end had been read already.
        assert process.wait(timeout=10) in {-signal.SIGTERM, 128 + signal.SIGTERM}
    finally:
        subprocess.run(["pkill", "-KILL", "-g", str(process.pid)], check=False)
    assert one.end()["exit_code"] == 143
