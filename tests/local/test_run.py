"""``hpcfrugal run``: the command comes first, the figures after it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import started

from hpcfrugal.cli.run import _window_s

ARGV = [sys.executable, "-W", "error", "-m", "hpcfrugal", "run"]
"""An interpreter of its own, where signals, files or a terminal are the point."""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    others = ("PYTHON", "LC_", "LD_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(others)}
    return kept | {"HOME": str(tmp_path), "LANG": "C.UTF-8"}


def run(environ: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    code, out, err = started.run(["run", *argv], environ, Path.cwd(), 60)
    return subprocess.CompletedProcess(argv, code, out.decode(), err.decode())


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 9"], 9),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["no-such-command-at-all"], 127),
        (["/"], 126),
    ],
)
def test_exit_code_is_the_commands(environ: dict[str, str], argv: list[str], code: int) -> None:
    done = run(environ, "--", *argv)
    assert done.returncode == code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_json_is_one_line_after_the_output(environ: dict[str, str], tmp_path: Path) -> None:
    # It computes for some ticks, and so long that it is at work in more than one reading.
    script = "echo --json; cat; sleep 1.2; i=0; while [ $i -lt 50000 ]; do i=$((i + 1)); done"
    done = run(environ, "--json", "-o", str(tmp_path / "run.json"), "--", "sh", "-c", script)
    assert done.returncode == 0
    output, text = done.stdout.splitlines()
    assert output == "--json"
    document: dict[str, Any] = json.loads(text)
    assert json.loads((tmp_path / "run.json").read_text()) == document
    assert {"energy_j", "boundary", "channels", "duration_s", "coverage"} <= document.keys()
    assert 1.2 <= document["command_s"] <= document["duration_s"] + 0.1 < 3
    assert document["coverage"] == pytest.approx(1, abs=0.1)
    for channel in document["channels"]:
        assert {"component", "source", "quality", "energy_j"} <= channel.keys()
        assert channel["energy_j"] is None or channel["energy_j"] > 0


@pytest.mark.parametrize("options", [[], ["--share"]])
def test_both_scopes_are_shown(environ: dict[str, str], options: list[str]) -> None:
    script = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done"
    document = json.loads(run(environ, *options, "--json", "--", "sh", "-c", script).stdout)
    scopes = document["scopes"]
    assert document["scope"] == ("share of the node" if options else "whole machine")
    own = scopes["command_share" if options else "whole_machine"]
    assert own["energy_j"] == pytest.approx(document["energy_j"]["total"])
    assert 0 < scopes["command_share"]["energy_j"] <= scopes["whole_machine"]["energy_j"]
    assert scopes["report"] == ("whole_machine" if scopes["command_cpu_part"] >= 0.9 else "command_share")
    first, advice, details = run(environ, *options, "--name", "count", "--", "sh", "-c", script).stderr.splitlines()
    assert re.fullmatch(rf"count: [0-9.]+ (J|Wh) \(.*\), {document['scope']}, [0-9.]+ s", first), first
    assert advice.startswith("Report the ")
    assert re.fullmatch("Details: hpcfrugal report [0-9a-f]{8}", details)
    argv = [sys.executable, "-m", "hpcfrugal", *details.split()[2:], "--no-sync"]
    printed = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout
    assert re.search("^Name +count", printed, re.MULTILINE)


def test_a_command_that_fails_gets_one_line(environ: dict[str, str]) -> None:
    done = run(environ, "--", "sh", "-c", "sleep 0.3; exit 3")
    assert (done.returncode, done.stdout) == (3, "")
    assert re.fullmatch(r"sh: .* \(.*\), whole machine, 0\.[0-9] s, exit code 3\n", done.stderr), done.stderr


def test_signals_are_passed_on(environ: dict[str, str]) -> None:
    script = "trap 'echo got; exit 3' USR1; echo ready; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; done"
    with subprocess.Popen(
        [*ARGV, "--", "sh", "-c", script], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR1)
        out, _ = process.communicate(timeout=30)
        assert (process.returncode, out) == (3, "got\n")


@pytest.mark.parametrize(
    "number",
    sorted(
        {signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU, signal.SIGTRAP, signal.SIGPWR}
        | {signal.SIGIO, signal.SIGHUP, signal.SIGUSR2, signal.SIGRTMIN, signal.SIGRTMIN + 3, signal.SIGRTMAX}
    ),
)
def test_signals_that_would_end_it_reach_the_command(number: int) -> None:
    command = (
        f"import signal, time; signal.signal({int(number)}, lambda *_: exit(42)); print(flush=True); time.sleep(9)"
    )
    program = "import sys; from hpcfrugal.local.run import _exit_code; sys.exit(_exit_code(sys.argv[1:]))"
    argv = [sys.executable, "-c", program, sys.executable, "-c", command]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(8) == 42


@pytest.mark.slow
def test_stopped_for_a_while(environ: dict[str, str]) -> None:
    """Ctrl-Z and fg, or scontrol suspend: the wait that is interrupted is not taken for an end."""
    argv = [*ARGV, "--json", "--", "sh", "-c", "echo ready; sleep 3; exit 7"]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, json.loads(out)["exit_code"]) == (7, 7)
    assert "Traceback" not in err


LEAVES_THE_TREE = """
import os, time
over, held = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        until = time.process_time() + 0.7
        while time.process_time() < until:
            pass
    os._exit(0)
os.close(held)
os.read(over, 1)
time.sleep(2)
"""
"""The process that leaves the tree computes; the command waits for its end, and for the sidecar to see it."""


@pytest.mark.slow
def test_a_double_fork_counts(environ: dict[str, str]) -> None:
    done = run(environ, "--share", "--json", "--", sys.executable, "-c", LEAVES_THE_TREE)
    assert json.loads(done.stdout)["usage"]["cpu_time_s"] >= 0.7


@pytest.mark.slow
def test_what_outlives_the_command_goes_on(environ: dict[str, str], tmp_path: Path) -> None:
    done = run(environ, "--", "sh", "-c", f"(sleep 2; touch {tmp_path}/done) </dev/null >/dev/null 2>&1 & exit 3")
    assert (done.returncode, (tmp_path / "done").exists()) == (3, False)
    time.sleep(2.5)
    assert (tmp_path / "done").exists()


def test_a_signal_in_the_first_moment_reaches_the_command() -> None:
    """One that comes while the command is being started waits for it, instead of ending us alone."""
    script = """
import os, signal, subprocess, sys
from hpcfrugal.local import child
from hpcfrugal.local.run import _exit_code
real = subprocess.Popen
def slow(*words, **more):
    os.kill(os.getpid(), signal.SIGTERM)
    return real(*words, **more)
child.subprocess.Popen = slow
sys.exit(_exit_code([sys.executable, "-c", "import time; time.sleep(20)"]))
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=15, check=False).returncode == 128 + signal.SIGTERM


COUNTS_SIGNALS = """
import signal, sys, time
counts = {"SIGINT": 0, "SIGQUIT": 0, "SIGTERM": 0}
def got(number, _frame):
    counts[signal.Signals(number).name] += 1
for name in counts:
    signal.signal(getattr(signal, name), got)
print("ready", flush=True)
until = time.monotonic() + 2
while time.monotonic() < until:
    time.sleep(0.05)
print(*counts.values(), flush=True)
sys.exit(5)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGQUIT", "SIGTERM"])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.slow
def test_signal_to_us_alone_reaches_the_command_once(environ: dict[str, str], name: str, ignored: bool) -> None:
    """Also where a shell without job control started us in the background, with SIGINT and SIGQUIT ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        for number in before:
            signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
        process = subprocess.Popen(
            [*ARGV, "--", sys.executable, "-c", COUNTS_SIGNALS], env=environ, stdout=subprocess.PIPE, text=True
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, name))
        out, _ = process.communicate(timeout=30)
    expected = ["0", "0", "0"]
    expected[["SIGINT", "SIGQUIT", "SIGTERM"].index(name)] = "1"
    assert (process.returncode, out.split()) == (5, expected)


def test_what_is_ignored_stays_ignored_for_the_command(environ: dict[str, str]) -> None:
    script = f"trap '' INT; exec {shlex.join(ARGV)} -- sh -c 'kill -INT $$; kill -TERM $$; echo never'"
    done = subprocess.run(["sh", "-c", script], env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "")


@pytest.mark.slow
@pytest.mark.parametrize(("key", "column"), [(b"\x03", 0), (b"\x1c", 1)])
def test_key_at_the_terminal_reaches_the_command_once(environ: dict[str, str], key: bytes, column: int) -> None:
    """The terminal gives the command its own copy of Ctrl-C; a signal to us alone is another one."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [*ARGV, "--", sys.executable, "-c", COUNTS_SIGNALS], environ)
    text = b""
    try:
        while b"ready" not in text:
            text += os.read(terminal, 1024)
        os.write(terminal, key)
        time.sleep(0.5)
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(OSError):  # EIO at the end
            while more := os.read(terminal, 1024):
                text += more
    finally:
        os.close(terminal)
    _, status = os.waitpid(pid, 0)
    counts = re.findall(rb"(\d) (\d) (\d)", text)
    expected = [b"0", b"0", b"1"]
    expected[column] = b"1"
    assert (os.waitstatus_to_exitcode(status), counts) == (5, [tuple(expected)])


def test_exit_code_where_sigchld_is_ignored() -> None:
    """A parent that ignores SIGCHLD takes no exit code from us."""
    script = """
import signal, sys
from hpcfrugal.local.run import _exit_code
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
code = _exit_code(["sh", "-c", "sleep 0.2; exit 7"])
print(code, signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "7 True set()\n"


def test_unwritable_spool_costs_the_record_and_nothing_else(environ: dict[str, str]) -> None:
    done = run(environ | {"HPCFRUGAL_SPOOL": "/proc/nowhere"}, "--json", "--", "sh", "-c", "exit 5")
    assert done.returncode == 5
    assert "this run is not kept" in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 5


def test_use_of_the_command_is_in_the_json(environ: dict[str, str], tmp_path: Path) -> None:
    """2 MB through to the disk by a process that is gone when the sidecar looks, with counters where there are any."""
    script = "head -c 2000000 /dev/zero > big; sync -d big; sleep 1.2"
    done = run(environ, "--json", "--hardware-counters", "--", "sh", "-c", f"cd {tmp_path} && {script}")
    usage = json.loads(done.stdout)["usage"]
    assert usage["io_write_b"] >= 2_000_000
    assert usage["io_complete"] is True
    assert usage["page_faults_minor"] > 50
    assert 0 < usage["memory_mean_b"] <= usage["memory_peak_b"]
    reasons = {item["figure"]: item["reason"] for item in usage["reasons"]}
    assert (usage["instructions"] is None) == ("hardware_counters" in reasons)
    assert reasons.get("hardware_counters") != "not requested"


def test_run_lands_in_the_ledger(environ: dict[str, str]) -> None:
    run_id = json.loads(run(environ, "--json", "--", "true").stdout)["run_id"]
    report = subprocess.run(
        [*ARGV[:-1], "report", run_id, "--json"], env=environ, capture_output=True, text=True, check=True
    )
    (job,) = json.loads(report.stdout)["jobs"]
    assert (job["name"], job["exit_code"]) == ("true", 0)


def test_no_sidecar_is_left_behind(environ: dict[str, str], tmp_path: Path) -> None:
    run(environ, "--", "true")
    time.sleep(0.1)
    assert subprocess.run(["pgrep", "-f", str(tmp_path)], check=False, capture_output=True).stdout == b""


@pytest.mark.parametrize("limit", ["-f 0", "-n 20"])
def test_failed_measurement_does_not_affect_the_command(environ: dict[str, str], limit: str) -> None:
    line = f"ulimit {limit}; {' '.join(ARGV)} -- sh -c 'echo ran; exit 7'"
    done = subprocess.run(["sh", "-c", line], env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (7, "ran\n")
    assert "Traceback" not in done.stderr


def test_in_a_removed_working_directory_it_is_measured(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    line = f"cd {tmp_path}/gone; rmdir {tmp_path}/gone; {' '.join(ARGV)} --json -- sleep 0.3"
    done = subprocess.run(["sh", "-c", line], env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["command_s"] == pytest.approx(0.3, abs=0.25)


def test_user_without_a_name(environ: dict[str, str], tmp_path: Path) -> None:
    """A user id that no passwd knows, as in many containers."""
    program = """
import pwd, sys
def unknown(uid): raise KeyError("getpwuid(): uid not found")
pwd.getpwuid = unknown
from hpcfrugal.cli.root import main
main(["run", "--", "sh", "-c", "echo ran; exit 7"])
"""
    names = ("LOGNAME", "USER", "LNAME", "USERNAME")
    nameless = {key: value for key, value in environ.items() if key not in names}
    done = subprocess.run(
        [sys.executable, "-c", program], env=nameless, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (7, "ran\n")
    assert "Traceback" not in done.stderr


def test_spool_deleted_during_the_run(environ: dict[str, str], tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    done = run(environ | {"HPCFRUGAL_SPOOL": str(spool)}, "--", "sh", "-c", f"rm -rf {spool}; exit 7")
    assert done.returncode == 7
    assert "Traceback" not in done.stderr


def test_inherited_files_reach_the_command(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "three").write_text("three\n")
    line = f"{' '.join(ARGV)} -- sh -c 'cat <&3' 3<{tmp_path}/three"
    done = subprocess.run(["sh", "-c", line], env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "three\n"


def test_the_window_is_that_of_all_readings() -> None:
    nothing = {"first_boottime_ns": None, "last_boottime_ns": None}
    some = {"first_boottime_ns": 2_000_000_000, "last_boottime_ns": 3_500_000_000}
    more = {"first_boottime_ns": 1_750_000_000, "last_boottime_ns": 3_000_000_000}
    assert _window_s([nothing, some, more]) == 1.75
    assert _window_s([nothing]) is None


def test_idle_power_of_this_machine_is_kept_with_the_run(environ: dict[str, str], tmp_path: Path) -> None:
    settings = tmp_path / ".config/hpcfrugal/config.toml"
    settings.parent.mkdir(parents=True)
    host = socket.gethostname().split(".")[0]
    settings.write_text(f'[nodes."{host}"]\nidle_power_w = {{cpu = 7}}\n')
    assert run(environ, "--share", "--", "true").returncode == 0
    (path,) = tmp_path.rglob("*.nodes.json")
    (node,) = json.loads(path.read_text())["nodes"]
    assert (node["node"], node["slurm_cpus"], node["idle_power_uw"]) == (host, None, {"cpu": 7_000_000})
    settings.write_text("[nodes.x]\n")
    done = run(environ, "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "nodes.x: has neither idle_power_w nor tdp_w" in done.stderr


def test_settings_never_keep_the_command_from_running(environ: dict[str, str], tmp_path: Path) -> None:
    settings = tmp_path / "xdg/hpcfrugal/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("spool = [\n")
    (tmp_path / "locked").mkdir(mode=0)
    for changes in (
        {"HOME": "/dev/null"},
        {"HOME": "relative"},
        {"HOME": "relative", "XDG_DATA_HOME": "relative", "TMPDIR": str(tmp_path / "none")},
        {"HOME": str(tmp_path / "locked")},
        {"XDG_CONFIG_HOME": str(tmp_path / "xdg")},
        {"HPCFRUGAL_SPOOL": "relative", "HPCFRUGAL_PUE": "much"},
        {"HPCFRUGAL_LEDGER": "/dev/null/ledger.db"},
    ):
        done = run(environ | changes, "--", "sh", "-c", "echo ran; exit 7")
        assert (done.returncode, done.stdout) == (7, "ran\n"), changes
        assert "Traceback" not in done.stderr, changes


def test_a_run_whose_end_cannot_be_recorded_leaves_the_other_runs(environ: dict[str, str], tmp_path: Path) -> None:
    told = environ | {"HPCFRUGAL_SPOOL": str(tmp_path / "kept")}
    assert run(told, "--", "true").returncode == 0
    (first,) = (tmp_path / "kept").glob("2*/*")
    command = f"for run in {first.parent}/*; do [ $run = {first} ] || rm -r $run; done; exit 4"
    done = run(told, "--", "sh", "-c", command)
    assert done.returncode == 4
    assert "the end of this run is not recorded: " in done.stderr
    assert (first / "run.json").exists()


def test_zone_and_pue_are_kept_with_the_run(environ: dict[str, str], tmp_path: Path) -> None:
    told = environ | {"HPCFRUGAL_ZONE": "FR", "HPCFRUGAL_PUE": "1.25", "HPCFRUGAL_SPOOL": str(tmp_path / "kept")}
    assert run(told, "--", "true").returncode == 0
    (document,) = (tmp_path / "kept").glob("*/*/run.json")
    assert json.loads(document.read_text())["carbon"] == {"zone": "FR", "pue": 1.25}


def test_a_pue_by_month_counts_for_a_run_and_is_not_kept_with_it(environ: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "xdg/hpcfrugal/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[carbon]\nzone = "FR"\n[carbon.pue]\n2026-01 = 1.25\n')
    told = environ | {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HPCFRUGAL_SPOOL": str(tmp_path / "kept")}
    assert (
        run(told, "--interval", "0.1", "--", "sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").returncode
        == 0
    )
    (document,) = (tmp_path / "kept").glob("*/*/run.json")
    assert json.loads(document.read_text())["carbon"] == {"zone": "FR", "pue": None}
    code, out, _ = started.run(["report", "--json", "--no-sync"], told, tmp_path, 60)
    (job,) = json.loads(out)["jobs"]
    assert (code, job["pue"], job["footprint"]["jobs_with_pue_of_settings"]) == (0, 1.25, 1)


@pytest.mark.parametrize("mode", ["wb", "ab"])
@pytest.mark.parametrize(("printed", "lines"), [("abc", ["abc"]), ("abc\\n", ["abc"]), ("", [])])
@pytest.mark.slow
def test_json_in_a_file_begins_on_a_line_of_its_own(
    environ: dict[str, str], tmp_path: Path, mode: str, printed: str, lines: list[str]
) -> None:
    path = tmp_path / "out"
    with path.open(mode) as out:
        argv = [*ARGV, "--json", "--", "printf", printed]
        subprocess.run(argv, env=environ, stdout=out, stderr=subprocess.DEVNULL, check=True, timeout=60)
    *before, text = path.read_text().splitlines()
    assert before == lines
    assert json.loads(text)["exit_code"] == 0


def test_without_a_cache_the_sidecar_goes_into_the_run(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in ("/proc/nowhere", str(tmp_path / "file")):
        done = run(environ | {"XDG_CACHE_HOME": place}, "--json", "--", "sleep", "0.3")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["coverage"] == pytest.approx(1, abs=0.3)


def test_where_nothing_can_be_kept_it_is_measured_all_the_same(environ: dict[str, str]) -> None:
    done = run(environ | {"HOME": "/proc"}, "--json", "--", "sleep", "0.3")
    assert done.stderr.startswith("warning: this run is not kept: /proc/")
    document = json.loads(done.stdout)
    assert (document["complete"], document["exit_code"]) == (True, 0)


def test_grams_are_shown_where_a_zone_is_known(environ: dict[str, str]) -> None:
    done = run(environ | {"HPCFRUGAL_ZONE": "FR"}, "--json", "--", "sleep", "0.3")
    document = json.loads(done.stdout)
    assert document["co2e_g"] > 0
    assert (document["zone"], document["intensity_source"]) == ("FR", "yearly-mean")
    table = run(environ | {"HPCFRUGAL_ZONE": "FR"}, "--", "sleep", "0.3").stderr
    assert re.search(r"[0-9] µ?m?g CO2e \(intensity: yearly-mean\)\n", table), table
    assert "CO2e" not in run(environ, "--", "sleep", "0.3").stderr


@pytest.mark.slow
def test_the_report_goes_on_saying_which_figure_to_report(environ: dict[str, str]) -> None:
    """The figure of the whole machine, found again later, must not be taken for the command's own."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        done = run(environ, "--", "sleep", "1.5")
        other.kill()
    (advice,) = [line for line in done.stderr.splitlines() if line.startswith("Report the command's share, ")]
    argv = [sys.executable, "-m", "hpcfrugal", "report", "latest", "--no-sync", "--markdown"]
    printed = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout
    assert advice in printed.splitlines()
