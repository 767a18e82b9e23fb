"""What each command prints, to a reader and to a program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from sandbox import Sandbox

import hpcfrugal
from hpcfrugal.cli.root import COMMANDS, root
from hpcfrugal.job import job_from_mapping, load_job
from hpcfrugal.submission.warnings import warnings_of

ESCAPE = "\x1b"


def test_version_and_help(box: Sandbox) -> None:
    assert box.ok("--version") == f"hpcfrugal, version {hpcfrugal.__version__}\n"
    listed = box.ok("--help")
    for name in COMMANDS:
        assert f"\n  {name} " in listed
        text = box.ok(name, "--help")
        assert f"hpcfrugal {name} " in text.splitlines()[0]
        assert all(len(line) <= 100 for line in text.splitlines())
    assert box.ok("submit", "-h") == box.ok("submit", "--help")


def parameters(command: click.Command) -> Iterator[click.Parameter]:
    yield from command.params
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from parameters(below)


def test_no_option_takes_nan_for_a_number() -> None:
    numbers = [one for one in parameters(root) if isinstance(one.type, click.FloatRange)]
    assert {"hours", "interval", "record", "publish_step"} <= {one.name for one in numbers}
    for one in numbers:
        with pytest.raises(click.BadParameter, match="'nan' is not a number"):
            one.type.convert("nan", one, None)


@pytest.mark.slow
def test_init_writes_a_file_that_works(box: Sandbox) -> None:
    said = "Wrote job.yaml, a working example. Put your command into it and run: hpcfrugal submit job.yaml\n"
    assert box.ok("init") == said
    path = box.work / "job.yaml"
    assert load_job(path).name == "my-job"
    script = box.ok("submit", "--dry-run", "job.yaml")
    assert "#SBATCH --job-name=my-job\n" in script
    assert box.run("submit", "--wait", "job.yaml").code == 0
    (output,) = box.work.glob("local-*.out")
    assert output.read_text().startswith("done on ")
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    path.write_text("mine\n")
    result = box.run("init")
    assert (result.code, result.out) == (2, "")
    assert "job.yaml: already exists" in result.err
    assert path.read_text() == "mine\n"
    box.ok("init", "--force")
    assert load_job(path).name == "my-job"
    box.ok("init", "other.yaml")
    assert box.run("init", "no/such/folder.yaml").code == 3
    assert box.run("init", ".").code == 2


def test_every_template_dry_runs(box: Sandbox) -> None:
    for template in ("plain", "array", "mpi", "torchrun", "container"):
        more = {"resources": {"array": "0-3"}} if template == "array" else {}
        if template == "container":
            more = {"container": "my.sif"}
        script = box.ok("submit", "--backend", "slurm_cli", "--dry-run", box.job("echo hi", template=template, **more))
        assert script.startswith("#!/bin/bash\n")
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert not box.spool.exists()


def test_dry_run_is_what_is_submitted(box: Sandbox) -> None:
    path = box.job("echo hi", env={"A": "b c"})
    dry = box.ok("submit", "--dry-run", path).splitlines()
    _, run_dir = box.submit("echo hi", env={"A": "b c"})
    real = (run_dir / "script.sbatch").read_text().splitlines()
    # Only the run's own name differs.
    assert len(dry) == len(real)
    for one, other in zip(dry, real, strict=True):
        assert one == other or run_dir.name in other


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(box: Sandbox, shell: str) -> None:
    text = box.ok("completion", shell)
    assert "_HPCFRUGAL_COMPLETE" in text
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=text, text=True, check=False).returncode == 0
    at = "su" if shell == "fish" else "1"
    said = box.ok(env={"_HPCFRUGAL_COMPLETE": f"{shell}_complete", "COMP_WORDS": "hpcfrugal su", "COMP_CWORD": at})
    assert "submit" in said


@pytest.mark.slow
def test_submit_several(box: Sandbox) -> None:
    paths = [box.job(f"echo {number}", f"{number}.yaml", output=f"o{number}") for number in range(3)]
    rows = [json.loads(line) for line in box.ok("submit", "--json", *paths).splitlines()]
    assert [row["name"] for row in rows] == ["0", "1", "2"]
    assert len({row["job_id"] for row in rows}) == 3
    for row in rows:
        assert set(row) == {"job_id", "cluster", "run_id", "run_dir", "name", "output", "warnings", "plan"}
        assert Path(row["run_dir"], "run.json").is_file()
        assert Path(row["output"]) == box.work / f"o{row['name']}"
        assert box.wait_over(row["job_id"]) == "COMPLETED"
    assert [(box.work / f"o{number}").read_text() for number in range(3)] == ["0\n", "1\n", "2\n"]


@pytest.mark.slow
def test_a_report_that_fails_leaves_the_exit_code_to_the_job(box: Sandbox) -> None:
    box.settings("[nodes.n1]\nidle = 3\n")
    result = box.run("submit", "--wait", box.job("exit 3"))
    assert result.code == 3
    assert [line for line in result.err.splitlines() if "there is no report" in line]
    assert "nodes.n1.idle" in result.err


def test_wait_for_several_ends_with_the_first_failure(box: Sandbox) -> None:
    result = box.run("submit", "--wait", box.job("true", "a.yaml"), box.job("sleep 0.7; exit 5", "b.yaml"))
    assert result.code == 5
    assert result.out.count("COMPLETED") == 1
    assert "RUNNING" in result.err
    assert ESCAPE not in result.out + result.err


def test_submit_prints_the_job_and_its_output_path(box: Sandbox) -> None:
    result = box.run("submit", box.job("true"))
    (run_dir,) = box.spool.glob("20*/*")
    cluster = json.loads((run_dir / "submitted.json").read_text())["cluster"]
    assert (result.code, result.out, result.err) == (
        0,
        f"Submitted job {run_dir.name} on {cluster}\nOutput: {box.work}/local-{run_dir.name}.out\n",
        "",
    )


def test_arguments_of_a_script_follow_two_dashes(box: Sandbox) -> None:
    (box.work / "m.sh").write_text('#!/bin/bash\nprintf "<%s>" "$@"\n')
    (box.work / "config.yaml").write_text("lr: 0.1\n")
    result = box.run("submit", "--wait", "m.sh", "--", "config.yaml", "--epochs", "1 0")
    assert result.code == 0
    (output,) = box.work.glob("local-*.out")
    assert output.read_text() == "<config.yaml><--epochs><1 0>"
    result = box.run("submit", "m.sh", "config.yaml")
    assert result.code == 2
    assert "write it after `--`: submit m.sh -- config.yaml" in result.err
    result = box.run("submit", "m.sh", "m.sh", "--", "x")
    assert result.code == 2
    assert "submit one at a time" in result.err
    result = box.run("submit", box.job("true"), "--", "x")
    assert (result.code, "takes no arguments (write them into the command)" in result.err) == (2, True)


def test_a_missing_log_directory(box: Sandbox) -> None:
    """Slurm would accept the job, which then fails at its start; without Slurm it is refused, and that is enough."""
    warning = "output: the directory logs does not exist in"
    path = box.job("true", output="logs/%j.out")
    spec = job_from_mapping({"name": "t", "command": "true", "output": "logs/%j.out"})
    (warned,) = warnings_of(spec, box.work, slurm=True)
    assert warned.startswith(warning)
    refused = box.run("submit", path)
    assert (refused.code, warning in refused.err, "make " in refused.err) == (3, False, True)
    (box.work / "logs").mkdir()
    assert warnings_of(spec, box.work, slurm=True) == ()
    assert box.run("submit", path).code == 0


def test_check_needs_slurm(box: Sandbox) -> None:
    result = box.run("submit", "--check", box.job("true"))
    assert (result.code, result.out) == (3, "")
    assert "--check needs Slurm" in result.err


def test_status(box: Sandbox) -> None:
    assert box.ok("status") == "No jobs yet. Submit one: hpcfrugal submit job.yaml\n"
    assert json.loads(box.ok("status", "--json")) == []
    assert box.ok("watch") == "You have no pending or running jobs.\n"
    quick, _ = box.submit("true", name="quick")
    box.wait_over(quick)
    slow, run_dir = box.submit("sleep 60", name="slow", energy={"interval": 0.1, "record": 0.2})
    table = box.ok("status")
    for words in (quick[-8:], slow[-8:], "quick", "slow", "COMPLETED", "RUNNING"):
        assert words in table
    assert ESCAPE not in table
    assert slow[-8:] not in box.ok("status", quick[-8:])
    # The beginning of a run id is enough where it fits only one.
    rows = json.loads(box.ok("status", "--json", slow[:-2]))
    assert [(row["job_id"], row["name"], row["state"]) for row in rows] == [(slow, "slow", "RUNNING")]
    assert rows[0]["run_id"] == run_dir.name
    assert rows[0]["elapsed_s"] >= 0
    result = box.run("status", quick[:9])
    assert (result.code, result.out) == (2, "")
    assert "means 2 jobs, the last of them" in result.err
    # Digits alone are a job id, not the beginning of a run id.
    assert "is not a job that you submitted" in box.run("status", quick[:6]).err


@pytest.mark.slow
def test_watch_without_a_terminal_prints_the_start_and_the_end(box: Sandbox) -> None:
    job_id, _ = box.submit("sleep 3")
    text = box.ok("watch", "--interval", "0.5", job_id)
    assert text.count(job_id[-8:]) == 2
    assert text.index("RUNNING") < text.index("COMPLETED")
    assert ESCAPE not in text
    # It is over: the start is the end.
    assert box.ok("watch", job_id).count(job_id[-8:]) == 1


@pytest.mark.slow
def test_cancel_several(box: Sandbox) -> None:
    jobs = [box.submit("sleep 60")[0] for _ in range(2)]
    assert box.ok("cancel", *jobs) == "".join(f"Cancelled job {job_id}\n" for job_id in jobs)
    assert [box.wait_over(job_id) for job_id in jobs] == ["CANCELLED", "CANCELLED"]
    reported = json.loads(box.ok("report", jobs[0], "--json"))["jobs"]
    assert [(job["state"], job["exit_code"]) for job in reported] == [("CANCELLED", 143)]
    assert box.ok("cancel", jobs[0]) == f"Job {jobs[0]} has already ended (CANCELLED)\n"
    # One that does not exist: the others are left alone.
    third, _ = box.submit("sleep 60")
    assert box.run("cancel", third, "17").code == 2
    assert box.state(third) == "RUNNING"


def test_doctor(box: Sandbox) -> None:
    (box.home / "bin").mkdir()
    box.env["PATH"] = str(box.home / "bin")  # no Slurm
    result = box.run("doctor", "--json")
    found = json.loads(result.out)
    assert (result.code, found["ok"]) == (0, True), result
    assert {"program", "slurm", "sensors", "settings", "files"} >= {one["area"] for one in found["findings"]}
    for one in found["findings"]:
        assert set(one) == {"area", "subject", "level", "found", "advice"}
        # A gap without advice helps nobody.
        assert one["level"] == "ok" or one["advice"]
    subjects = {one["subject"]: one for one in found["findings"] if one["area"] == "files"}
    assert str(box.spool) in subjects["spool"]["found"]
    assert "torchrun" in subjects["templates"]["found"]
    text = box.ok("doctor")
    assert ESCAPE not in text
    for one in found["findings"]:
        assert one["subject"] in text
    # It looks and makes nothing.
    assert not box.spool.exists()


def of_settings(box: Sandbox, code: int, **environ: str) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """What doctor shows of each setting, as (level, text), and the mistakes that it finds."""
    done = box.run("doctor", "--json", env={**box.env, **environ})
    assert done.code == code, done
    assert "Traceback" not in done.err
    found = [one for one in json.loads(done.out)["findings"] if one["area"] == "settings"]
    mistakes = [f"{one['found']} ({one['advice']})" for one in found if one["level"] == "fault"]
    return {one["subject"]: (one["level"], one["found"]) for one in found}, mistakes


def test_doctor_shows_each_setting_and_where_it_was_set(box: Sandbox) -> None:
    box.env["PATH"] = "/nowhere"
    file = box.settings(
        """
        [carbon]
        zone = "FR"
        [queues.green]
        max_delay = "24h"
        capacity = 40
        [forecasts.own]
        kind = "file"
        path = "/x.csv"

        [nodes.n1]
        idle_power_w = {cpu = 60}
        """
    )
    shown, mistakes = of_settings(box, 0, HPCFRUGAL_PUE="1.25", HPCFRUGAL_BACKEND="")
    assert not mistakes
    assert shown["carbon.zone"] == ("ok", f"FR ({file}:3)")
    assert shown["carbon.pue"] == ("ok", "1.25 (HPCFRUGAL_PUE)")
    assert shown["backend"] == ("ok", "auto (default)")
    assert shown["carbon.provider"] == ("ok", "not set")
    assert shown["queues.green"] == ("ok", f"max_delay = 24h, capacity = 40 ({file}:4)")
    assert shown["forecasts.own"] == ("ok", f"kind = file, path = /x.csv ({file}:7)")
    assert shown["nodes.n1"] == ("ok", f"idle_power_w = {{'cpu': 60}} ({file}:11)")
    box.settings("")
    shown, _ = of_settings(box, 0)
    assert [shown[key][0] for key in ("carbon.zone", "carbon.pue")] == ["gap", "gap"]


def test_doctor_reports_mistakes_in_the_settings_and_goes_on(box: Sandbox) -> None:
    box.env["PATH"] = "/nowhere"
    file = box.settings(
        """
        bakend = "local"
        [carbon]
        zone = "FR"
        pue = 0.5
        [queues.green]
        max_delay = "24h"
        [forecasts.own]
        kind = "watttime"
        url = "https://me:s3cret@example.org"
        """
    )
    shown, mistakes = of_settings(box, 3)
    assert mistakes == [
        f"{file}:2: bakend: is not a setting of hpcfrugal (did you mean backend?)",
        f"{file}:5: carbon.pue: needs a number from 1 to 10 (None)",
        f"{file}:10: forecasts.own.url: must not hold credentials "
        "(name a file or an environment variable: token_file, password_env, ...)",
        f"{file}:6: queues.green.capacity: is missing (for example 40)",
    ]
    assert shown["carbon.zone"] == ("ok", f"FR ({file}:4)")
    assert "s3cret" not in json.dumps(shown)
    box.settings("[carbon\n")
    _, (mistake,) = of_settings(box, 3)
    assert mistake.startswith(f"{file}:1: is not valid TOML: ")
    _, (mistake,) = of_settings(box, 3, HOME="not/absolute")
    assert mistake.startswith("your home directory is not an absolute path")


def test_doctor_ends_with_3_where_something_is_broken(box: Sandbox) -> None:
    box.env |= {"PATH": "/nowhere", "HPCFRUGAL_SPOOL": "/dev/null/x", "HPCFRUGAL_LEDGER": "/dev"}
    result = box.run("doctor", "--json")
    assert result.code == 3, result
    broken = {one["subject"] for one in json.loads(result.out)["findings"] if one["level"] == "fault"}
    assert broken == {"spool", "ledger"}


@pytest.mark.parametrize(("backend", "level", "code"), [("auto", "fault", 3), ("local", "gap", 0)])
def test_slurm_that_does_not_answer_is_no_fault_for_jobs_of_this_machine(
    box: Sandbox, backend: str, level: str, code: int
) -> None:
    folder = box.home / "bin"
    folder.mkdir()
    for name in ("sbatch", "scontrol"):
        (folder / name).write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
        (folder / name).chmod(0o755)
    result = box.run("doctor", "--json", env={"PATH": f"{folder}:/usr/bin:/bin", "HPCFRUGAL_BACKEND": backend})
    assert result.code == code, result
    (found,) = [one for one in json.loads(result.out)["findings"] if one["subject"] == "controller"]
    assert found["level"] == level
    assert 'backend = "local"' in found["advice"]


@pytest.mark.skipif(os.geteuid() != 0, reason="others are kept out of /proc by its permissions")
def test_doctor_tries_directories_that_claim_to_take_files(box: Sandbox) -> None:
    result = box.run("doctor", "--json", env={"HOME": "/proc", "PATH": "/nowhere"})
    assert result.code == 3, result
    places = {one["subject"]: one for one in json.loads(result.out)["findings"] if one["level"] == "fault"}
    assert set(places) == {"spool", "ledger", "cache"}
    assert all("/proc cannot be written: " in one["found"] for one in places.values())


def test_schema(box: Sandbox) -> None:
    assert json.loads(box.ok("schema"))["properties"]["command"]


def unread(box: Sandbox, *argv: str, errors_too: bool = False) -> tuple[int, bytes]:
    """Exit code and errors of a run whose output nobody reads, nor, with ``errors_too``, its errors."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [*box.program, *argv],
        cwd=box.work, env=box.env, stdin=subprocess.DEVNULL, stdout=write_end,
        stderr=write_end if errors_too else subprocess.PIPE, timeout=30, check=False,
    )  # fmt: skip
    os.close(write_end)
    return done.returncode, done.stderr or b""


@pytest.mark.slow
def test_a_closed_output_pipe_is_not_an_error(box: Sandbox) -> None:
    job_id, _ = box.submit("true")
    box.wait_over(job_id)
    box.ok("ledger", "sync")
    for line in (
        "schema", "status", "report", f"report {job_id}", "ledger export", "--help", "report --help",
        "submit --dry-run job.yaml", "ledger sync",
    ):  # fmt: skip
        assert unread(box, *line.split()) == (0, b""), line
        assert unread(box, *line.split(), errors_too=True)[0] == 0, line
    assert unread(box, "doctor")[1] == b""
    # An error is one, whoever hears of it; and what was to be done is done.
    assert unread(box, "submit", "missing.yaml", errors_too=True)[0] == 2
    several = [str(box.job(f"exit {code}", f"{code}.yaml", resources={"mem": "1G"})) for code in (0, 9)]
    assert unread(box, "submit", *several, errors_too=True)[0] == 0
    assert len(list(box.spool.glob("*/*/submitted.json"))) == 3
    assert unread(box, "submit", "--wait", several[1], errors_too=True)[0] == 9


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.slow
def test_a_command_keeps_its_exit_code_without_a_reader(box: Sandbox, options: tuple[str, ...]) -> None:
    for code in (0, 7):
        argv = ["run", *options, "--", "sh", "-c", f"exit {code}"]
        assert unread(box, *argv)[0] == unread(box, *argv, errors_too=True)[0] == code


TERMINAL = """
import os, pty, sys
status = pty.spawn(sys.argv[1:])
sys.exit(os.waitstatus_to_exitcode(status))
"""


def on_a_terminal(box: Sandbox, *argv: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", TERMINAL, *box.program, *argv],
        cwd=box.work, env=box.env | {"TERM": "xterm-256color"} | env, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout.decode(errors="replace")


@pytest.mark.slow
def test_colour_is_for_terminals_that_want_it(box: Sandbox) -> None:
    job_id, _ = box.submit("true")
    box.wait_over(job_id)
    for argv in (["doctor"], ["status"], ["submit", "missing.yaml"]):
        assert f"{ESCAPE}[" in on_a_terminal(box, *argv), argv
        assert f"{ESCAPE}[" not in on_a_terminal(box, *argv, NO_COLOR="1", TERM="dumb"), argv
        result = box.run(*argv)
        assert ESCAPE not in result.out + result.err, argv
        # Each alone does it, and leaves out bold and dim as well.
        assert f"{ESCAPE}[" not in on_a_terminal(box, *argv, NO_COLOR="1"), argv
        assert f"{ESCAPE}[" not in on_a_terminal(box, *argv, TERM="dumb"), argv


@pytest.mark.slow
def test_without_utf_8_signs_keep_their_meaning(box: Sandbox) -> None:
    job_id, _ = box.submit("true")
    box.wait_over(job_id)
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for argv in (["report"], ["report", job_id], ["status"]):
        result = box.run(*argv, env=ascii_only)
        assert result.code == 0
        assert result.out.isascii()
        assert "?" not in result.out
        assert len(argv) == 1 or " - " in result.out, "from its start to its end"


@pytest.mark.slow
def test_status_never_cuts_an_id_and_drops_columns_whole(box: Sandbox) -> None:
    job_id, _ = box.submit("true", name="a-name-of-some-length")
    box.wait_over(job_id)
    shown = {}
    for width in (120, 80, 40):
        lines = on_a_terminal(box, "status", COLUMNS=str(width), NO_COLOR="1").splitlines()
        shown[width] = lines[0].split()
        assert any("a-name-of-s" in line and "COMPLETED" in line for line in lines), width
        assert any(job_id[-8:] in line for line in lines) == (width > 40)
        assert all(len(line.rstrip()) <= width for line in lines), width
        assert "…" not in lines[0]
    assert shown[120] == shown[80] == ["Job", "Name", "State", "Elapsed", "Energy", "[J]"]
    assert shown[40] == ["Name", "State", "Energy", "[J]"]


@pytest.mark.slow
@pytest.mark.parametrize("width", [60, 80])
def test_no_line_is_wider_than_the_terminal(box: Sandbox, width: int) -> None:
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = "".join(f"{start + timedelta(hours=hour):%Y-%m-%dT%H:%MZ},{100 + 30 * (hour % 9)}\n" for hour in range(48))
    (box.work / "own.csv").write_text(f"start,g_per_kwh\n{hours}")
    box.settings('[carbon]\nzone = "XX"\nprovider = "own"\n[forecasts.own]\nkind = "file"\n'
                 f'path = "{box.work}/own.csv"\nzone = "XX"\n')  # fmt: skip
    name = "resnet152-imagenet-sweep-learning-rate-0001"
    assert box.run("run", "--name", name, "--tag", f"project={name}", "--", "sleep", "0.2").code == 0
    job = box.job("true", resources={"time": "1:00:00"}, schedule={"max_delay": "12h"})
    for argv in (
        ["report"], ["report", "--by", "name,project"], ["report", "latest"], ["report", "--nodes"], ["status"],
        ["doctor"], ["forecast"], ["forecast", "--list"], ["plan", job], ["run", "--", "false"], ["run", "--", "true"],
    ):  # fmt: skip
        lines = on_a_terminal(box, *map(str, argv), COLUMNS=str(width), NO_COLOR="1").splitlines()
        assert lines, argv
        for line in lines:
            # A path cannot be broken.
            assert len(line.rstrip()) <= width or max(map(len, line.split())) > width // 2, (argv, line)


# A name that tries everything: shell, terminal, rich's markup, SQL, length.
HOSTILE = "a'; touch pwned #$(touch pwned)`touch pwned`\"[red]x[/red] -- \u202e" + "ü" * 300


@pytest.mark.slow
def test_hostile_texts_are_only_texts(box: Sandbox) -> None:
    value = f"{ESCAPE}]0;owned\x07{ESCAPE}[31m\nline'; touch pwned #"
    folder = box.work / "a'; touch pwned #\n$(touch pwned)"
    folder.mkdir()
    spec = {
        "name": HOSTILE, "workdir": str(folder), "output": str(box.work / "o"),
        "env": {"V": value}, "tags": {"project": value, "phase": HOSTILE},
    }  # fmt: skip
    result = box.run("submit", "--wait", box.job('printf "%s|%s" "$V" "$PWD"', "it's [red]a job.yaml", **spec))
    assert result.code == 0, result
    assert (box.work / "o").read_text() == f"{value}|{folder}"
    said = result.out + result.err
    for argv in (["status"], *(["report", *cut] for cut in ([], ["--by", "project"], ["--by", "phase"], ["--csv"]))):
        one = box.run(*argv)
        assert one.code == 0
        said += one.out + one.err
    assert ESCAPE not in said
    assert "\x07" not in said
    assert "\u202e" not in said.replace(box.ok("report", "--csv"), "")
    assert "[red]x[/red]" in said
    (row,) = json.loads(box.ok("status", "--json"))
    assert row["name"] == HOSTILE
    (job,) = json.loads(box.ok("report", "--json"))["jobs"]
    assert job["tags"]["project"] == value
    assert not list(box.work.rglob("pwned"))
    assert not list(box.home.rglob("pwned"))


def test_hostile_arguments_are_not_echoed_raw(box: Sandbox) -> None:
    bad = f"{ESCAPE}[31m{ESCAPE}]0;owned\x07.yaml"
    for argv in (["submit", bad], ["cancel", bad], ["report", bad], [bad], ["init", f"no/{bad}"], ["status", bad]):
        result = box.run(*argv)
        assert result.code in (2, 3), argv
        assert ESCAPE not in result.out + result.err, argv
        assert "Traceback" not in result.err, argv
    (box.work / bad).write_text("script: nowhere.sh\ntemplate: none\nresources: {array: 1-2, nodes: 5}\n")
    for extra in ([], ["--dry-run"]):
        assert ESCAPE not in box.run("submit", *extra, bad).err
    (box.work / bad).write_text("command: 'true'\ntemplate: none\n")
    assert ESCAPE not in box.run("submit", bad).err


def test_names_with_control_characters_are_refused(box: Sandbox) -> None:
    for name in ("a\nb", f"{ESCAPE}[31m", "a\x00b", "\u2028"):
        result = box.run("submit", box.job("true", name=name))
        assert result.code == 2, name
        assert "name" in result.err
        assert ESCAPE not in result.err
    assert not box.spool.exists()


def test_status_of_a_run_directory_that_is_only_half_there(box: Sandbox) -> None:
    _, run_dir = box.submit("sleep 30")
    (run_dir / "submitted.json").unlink()
    assert box.ok("status") == "No jobs yet. Submit one: hpcfrugal submit job.yaml\n"
    (run_dir / "submitted.json").write_text('{"job_id": "[bold]\\u001b[31mx", "cluster": 5}')
    (run_dir / "run.json").write_text("[]")
    result = box.run("status")
    assert "Traceback" not in result.err
    assert ESCAPE not in result.out + result.err


@pytest.mark.slow
def test_status_shows_the_energy_of_what_is_over(box: Sandbox) -> None:
    box.ok("run", "--name", "over", "--", "sh", "-c", "i=0; while [ $i -lt 50000 ]; do i=$((i + 1)); done")
    (row,) = json.loads(box.ok("status", "--json"))
    (job,) = json.loads(box.ok("report", "--json"))["jobs"]
    assert row["energy_j"] == job["energy_j"]["total"] > 0
    assert [row[name] for name in ("measured_j", "modelled_j", "complete")] == [
        job[name] for name in ("measured_j", "modelled_j", "complete")
    ]
    box.submit("sleep 60", name="runs")
    rows = json.loads(box.ok("status", "--json"))
    assert [(one["name"], one["energy_j"] is None, one["complete"]) for one in rows] == [
        ("over", False, True),
        ("runs", True, None),
    ]
    (line,) = (line for line in box.ok("status").splitlines() if " over " in line)
    assert (" ~" in line) == (row["modelled_j"] is not None)


def test_status_without_a_usable_ledger_shows_the_jobs(box: Sandbox) -> None:
    box.ok("run", "--name", "over", "--", "true")
    box.ledger.write_bytes(b"x" * 4096)
    result = box.run("status")
    assert result.code == 0
    assert "over" in result.out
    assert result.err.startswith("warning: energies are not known: ")
    assert "Traceback" not in result.err
