"""Whatever is wrong is told as `error:` lines with an exit code, and never as a traceback."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sandbox import Result, Sandbox


def errors(result: Result, code: int) -> list[str]:
    """The error lines of a run that must fail so, and say nothing else on standard output."""
    assert result.code == code, result
    assert "Traceback" not in result.err
    assert result.out == ""
    return [line.removeprefix("error: ") for line in result.err.splitlines() if line.startswith("error: ")]


def test_all_problems_of_all_files_at_once(box: Sandbox) -> None:
    one = box.write("one.yaml", "comand: x\nresources: {tmie: 5, nodes: many}\n")
    two = box.write("two.yaml", "command: x\nscript: nowhere.sh\n")
    good = box.job("touch ran", "good.yaml")
    printed = errors(box.run("submit", good, one, two, "missing.yaml"), 2)
    assert len(printed) >= 6
    for words in ("comand", "did you mean `command`", "resources.tmie", "resources.nodes", "nowhere", "missing.yaml"):
        assert any(words in line for line in printed), words
    # Nothing was submitted, not even the good one.
    assert not box.spool.exists()
    assert not (box.work / "ran").exists()


def test_files_that_are_not_job_files(box: Sandbox) -> None:
    (box.work / "folder").mkdir()
    os.mkfifo(box.work / "pipe")
    (box.work / "binary").write_bytes(bytes(range(256)))
    (box.work / "loop").symlink_to("loop")
    cases = {
        "missing.yaml": "there is no such file",
        "folder": "not a regular file",
        "pipe": "not a regular file",
        "binary": "",
        "loop": "cannot be read",
        "folder/x/job.yaml": "there is no such file",
        "n" * 300: "cannot be read: File name too long",
        str(box.write("empty.yaml", "")): "is empty",
        str(box.write("list.yaml", "- a\n")): "must be a mapping",
        str(box.write("bad.yaml", "command: [\n")): "bad.yaml",
        str(box.write("tab.yaml", "command:\n\tx: 1\n")): "tab.yaml",
        str(box.write("tag.yaml", "command: !!python/object/apply:os.system ['touch pwned']\n")): "tag.yaml",
        str(box.write("deep.yaml", "[" * 5000)): "deep.yaml",
        str(box.write("bomb.yaml", "a: &a [x,x]\nb: &b [*a,*a]\ncommand: [*b, *b]\n")): "bomb.yaml",
        str(box.write("empty.sh", "")): "",
        str(box.write("dos.sh", "#!/bin/bash\r\ntrue\r\n")): "DOS line endings",
    }
    printed = errors(box.run("submit", *cases), 2)
    for path, words in cases.items():
        assert any(line.startswith(path) and words in line for line in printed), path
    assert not (box.work / "pwned").exists()


def test_a_file_that_cannot_be_read(box: Sandbox) -> None:
    if os.geteuid() == 0:
        # A file that not even root can read from its beginning.
        path, why = "/proc/self/mem", "Input/output error"
    else:
        path, why = "job.yaml", "Permission denied"
        box.job("true").chmod(0)
    assert errors(box.run("submit", path), 2) == [f"{path}: cannot be read: {why}"]


def test_script_and_template_that_are_not_there(box: Sandbox) -> None:
    (line,) = errors(box.run("submit", box.write("a.yaml", "script: nowhere.sh\n")), 2)
    assert line.startswith(f"{box.work}/a.yaml:1: script: ")
    assert "there is no such file" in line
    (line,) = errors(box.run("submit", "--dry-run", box.job("true", template="gppu")), 2)
    assert "there is no template 'gppu' (known: array, container, mpi" in line


def test_a_broken_template_of_ones_own(box: Sandbox) -> None:
    folder = box.home / ".config/hpcfrugal/templates"
    folder.mkdir(parents=True)
    for text, words in [
        ("{% if %}", "plain.sbatch.j2:1: is not a valid template"),
        ("{{ nonsense }}", "template plain: can't be rendered: 'nonsense'"),
        ('{% extends "nowhere.j2" %}', "template plain: includes nowhere.j2, which was not found"),
    ]:
        (folder / "plain.sbatch.j2").write_text(text)
        (line,) = errors(box.run("submit", "--dry-run", box.job("true")), 2)
        assert words in line


def test_what_is_wrong_with_the_command_line_is_named(box: Sandbox) -> None:
    cases = [
        (["sumbit"], "no such command 'sumbit' (did you mean submit?)"),
        (["xyzzy"], "no such command 'xyzzy' (known: submit, plan, "),
        (["submit"], "JOB..."),
        (["submit", "--no-such-option", "x"], "--no-such-option"),
        (["submit", "--backend", "pbs", "x"], "slurm_cli"),
        (["cancel"], "JOB..."),
        (["watch", "--interval", "0"], "3600"),
        (["ledger", "snyc"], "no such command 'snyc' (did you mean sync?)"),
        (["completion", "tcsh"], "fish"),
        (["report", "--by", "lr"], "unknown grouping 'lr' (use user, "),
        (["report", "--by", "lr"], "or for a tag tag:lr)"),
        (["report", "--by", "user,tag:"], "or for a tag tag:KEY)"),
    ]
    for argv, words in cases:
        result = box.run(*argv)
        assert (result.code, result.out) == (2, ""), argv
        assert words in " ".join(result.err.split()), argv
        assert "Traceback" not in result.err


def test_jobs_that_do_not_exist(box: Sandbox) -> None:
    for command in ("cancel", "hold", "release", "status", "watch"):
        printed = errors(box.run(command, "17", "18"), 2)
        assert [line.split(":")[0] for line in printed] == ["17", "18"]
    assert "there is no ledger" in errors(box.run("report", "17", "--ledger", "l.db"), 3)[0]
    # Where it has just been brought up to date that is no advice.
    (line,) = errors(box.run("report", "17"), 2)
    assert line == "17: is not a job in the ledger (see `hpcfrugal report --since all --all`)"
    assert box.ok("report") == "No jobs in this period.\n"
    (line,) = errors(box.run("report", "--no-sync", "17"), 2)
    assert line == "17: is not a job in the ledger (run `hpcfrugal ledger sync` first)"
    assert "ledger sync" in box.ok("report", "--no-sync")


@pytest.mark.parametrize("spool", ["/proc/x", "/dev/null/x", "/sys/x"])
def test_a_spool_that_cannot_be_made(box: Sandbox, spool: str) -> None:
    (line,) = errors(box.run("submit", box.job("touch ran"), env={"HPCFRUGAL_SPOOL": spool}), 3)
    assert "cannot be created" in line
    assert not (box.work / "ran").exists()


def test_files_that_are_not_ledgers(box: Sandbox) -> None:
    garbage = box.work / "garbage.db"
    garbage.write_bytes(bytes(range(256)) * 40)
    text = box.write("text.db", "SQLite format 3 is what I am not\n")
    for path, sync, report in [(box.work, 3, 3), (garbage, 4, 4), (text, 4, 4), (Path("/proc/x/l.db"), 3, 3)]:
        before = path.read_bytes() if path.is_file() else None
        env = {"HPCFRUGAL_LEDGER": str(path)}
        assert errors(box.run("ledger", "sync", env=env), sync), path
        assert errors(box.run("report", env=env), report), path
        assert errors(box.run("ledger", "export", env=env), report), path
        if before is not None:
            assert path.read_bytes() == before
        # Nothing of it is a ledger: it is somebody's file, and stays.
        (line,) = errors(box.run("ledger", "rebuild", "--drop-vanished", env=env), sync)
        if before is not None:
            assert line == f"{path} is not a ledger"
            assert path.read_bytes() == before
            assert not path.with_name(f"{path.name}.lock").exists()
    # A file with the ledger's own name is one that was damaged. What the hint says helps.
    box.ok("ledger", "sync")
    box.ledger.write_bytes(garbage.read_bytes())
    assert "hint: `hpcfrugal ledger rebuild`" in box.run("report").err
    assert box.run("ledger", "rebuild").code == 0
    assert box.run("report").code == 0


@pytest.mark.parametrize("command", [("sync",), ("rebuild",), ("check",), ("export",)])
def test_a_ledger_that_is_not_a_file(box: Sandbox, command: tuple[str, ...]) -> None:
    os.mkfifo(box.work / "pipe")
    for path, what in ((".", "a directory"), ("..", "a directory"), ("/", "a directory"), ("pipe", "not a file")):
        assert errors(box.run("ledger", *command, "--ledger", path), 3) == [f"the ledger {path} is {what}"]
        assert errors(box.run("report", "--ledger", path), 3) == [f"the ledger {path} is {what}"]


def test_the_database_of_another_program_is_left_alone(box: Sandbox) -> None:
    path = box.work / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE places (x)")
        connection.execute("PRAGMA user_version = 77")
    before = path.read_bytes()
    for command in (("sync",), ("rebuild",), ("rebuild", "--drop-vanished")):
        printed = errors(box.run("ledger", *command, "--ledger", path), 4)
        assert printed == [f"{path} is a database, but not a ledger"]
    assert path.read_bytes() == before
    assert [one.name for one in box.work.iterdir()] == ["other.db"]


@pytest.mark.parametrize(
    "part",
    [
        "table channels",
        "table jobs",
        "table overlaps",
        "index jobs_by_name",
        "view jobs_energy",
        "trigger job_was_made",
    ],
)
def test_a_ledger_that_has_lost_a_table_is_damaged_and_can_be_rebuilt(box: Sandbox, part: str) -> None:
    box.ok("run", "--", "true")
    box.ok("ledger", "sync", "--offline")
    path = box.ok("ledger", "path").strip()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"DROP {part}")
    for command in (("report",), ("ledger", "sync", "--offline"), ("ledger", "check")):
        result = box.run(*command)
        if command == ("report",):
            assert (result.code, "Traceback" in result.err) == (4, False)
        else:
            (line,) = errors(result, 4)
            assert line.startswith(f"the ledger {path} is damaged: it has no {part}")
        assert "`hpcfrugal ledger rebuild` makes a new one from the spool" in result.err
    box.ok("ledger", "rebuild")
    box.ok("ledger", "check")


def test_a_spool_that_is_no_directory_is_named(box: Sandbox) -> None:
    (box.work / "file").write_text("")
    for command in ("sync", "rebuild", "check"):
        for path in ("/no/such/dir", "file"):
            result = box.run("ledger", command, "--spool", path)
            (line,) = errors(result, 2)
            assert line.endswith(f"there is no directory {path}")
            assert not (box.work / "no").exists()


def test_a_ledger_behind_a_link_stays_there(box: Sandbox) -> None:
    (box.work / "there").mkdir()
    link = box.work / "link.db"
    link.symlink_to("there/real.db")
    for command in ("sync", "rebuild", "sync"):
        box.ok("ledger", command, "--ledger", link)
        assert link.is_symlink()
    assert {one.name for one in (box.work / "there").iterdir()} == {"real.db", "real.db.lock"}


def test_an_empty_file_becomes_a_private_ledger(box: Sandbox) -> None:
    path = box.write("mine.db", "")
    path.chmod(0o644)
    box.ok("ledger", "sync", "--ledger", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


NAMELESS = """
import pwd, sys
def unknown(uid): raise KeyError("getpwuid(): uid not found")
pwd.getpwuid = unknown
from hpcfrugal.cli.root import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_without_a_home(box: Sandbox) -> None:
    box.program = (sys.executable, "-c", NAMELESS)
    job = box.job("true")
    del box.env["HOME"]
    words = "your home directory is not known: HOME is not set, and the system has no user "
    for argv in (["report"], ["status"], ["submit", job], ["queue", "list"]):
        (line,) = errors(box.run(*argv), 3)
        assert line.startswith(words), argv
    # Nothing beside the measurement keeps a command from running.
    ran = box.run("run", "--", "touch", "ran")
    assert (ran.code, f"warning: {words}" in ran.err, "Traceback" in ran.err) == (0, True, False), ran
    (box.work / "ran").unlink()
    doctor = box.run("doctor")
    assert (doctor.code, f"home: {words}" in doctor.out, "sensors" in doctor.out) == (3, True, True), doctor
    (line,) = errors(box.run("status", env={"HOME": "rel"}), 3)
    assert line == "your home directory is not an absolute path: 'rel'"
    # Nothing needs it where the rest is set; the cache only saves work.
    box.env |= {"XDG_CONFIG_HOME": str(box.home / "c"), "XDG_DATA_HOME": str(box.home / "d")}
    for argv in (["report"], ["run", "--", "touch", "ran"], ["status"], ["submit", job], ["ledger", "sync"]):
        result = box.run(*argv)
        assert (result.code, "Traceback" in result.err) == (0, False), argv
    assert (box.work / "ran").exists()
    doctor = box.run("doctor", env={"PATH": "/nowhere"})  # no Slurm
    assert (doctor.code, f"cache: {words}" in doctor.out, "spool: " in doctor.out) == (0, True, True), doctor
    (line,) = errors(box.run("submit", box.job("true", workdir="~/x")), 2)
    assert "your home directory is not known" in line


def test_problems_that_only_the_machine_can_tell_name_the_line(box: Sandbox) -> None:
    path = box.write("a.yaml", "command: x\ntemplate: nope\nresources:\n  nodes: 3\n")
    (line,) = errors(box.run("submit", path), 2)
    assert line.startswith(f"{path}:4: resources.nodes: 3 nodes requested, and this machine is one")
    (line,) = errors(box.run("submit", "--backend", "slurm_cli", "--dry-run", path), 2)
    assert line.startswith(f"{path}:2: template: there is no template 'nope'")
    path = box.write("b.yaml", "command: x\nschedule:\n  zone: ../a\n  deadline: 2020-01-01T00:00Z\n")
    (line,) = errors(box.run("submit", path), 2)
    assert line.startswith(f"{path}:3: schedule.zone: '../a' is not a valid name of a zone")
    path = box.write("b.yaml", "command: x\nschedule:\n  zone: GB\n  deadline: 2020-01-01T00:00Z\n")
    for command in ("submit", "plan"):
        (line,) = errors(box.run(command, "--backend", "slurm_cli", path), 2)
        assert line == f"{path}:4: schedule.deadline: 2020-01-01T00:00:00Z has passed", command


def test_the_hint_where_slurm_is_missing(box: Sandbox) -> None:
    config = box.home / ".config/hpcfrugal/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[queues.green]\ncapacity = 4\nmax_delay = "24h"\nunit = "nodes"\n')
    result = box.run("queue", "list", env={"PATH": "/nowhere", "HPCFRUGAL_BACKEND": "slurm_cli"})
    assert result.code == 3, result
    assert result.err.endswith("hint: load the cluster's slurm module\n"), result.err


def test_settings(box: Sandbox) -> None:
    path = box.home / ".config/hpcfrugal/config.toml"
    path.parent.mkdir(parents=True)
    for text, words in [
        ("[[[", ["is not valid TOML"]),
        ("spol = '/x'\nbackend = 'pbs'\nledger = 3\n", ["did you mean spool?", "needs one of auto", "needs a path"]),
        ("spool = 'relative'", ["needs an absolute path"]),
        ("spool = '~no-such-user/x'", ["names a user that does not exist"]),
        ("[sidecar]\npython = []", ["needs a list of interpreters"]),
    ]:
        path.write_text(text)
        printed = errors(box.run("status"), 2)
        assert len(printed) == len(words), printed
        for word in words:
            assert any(word in line for line in printed), word
    path.write_bytes(b"# \n\n\xff\xfe")
    assert errors(box.run("status"), 2) == [f"{path}:3: is not UTF-8 text (save the file as UTF-8)"]
    path.unlink()
    path.mkdir()
    assert "cannot be read: Is a directory" in errors(box.run("status"), 2)[0]
    # The environment is checked in the same words.
    path.rmdir()
    (line,) = errors(box.run("status", env={"HPCFRUGAL_BACKEND": "pbs"}), 2)
    assert line.startswith("HPCFRUGAL_BACKEND: needs one of")


def test_a_working_directory_that_is_gone(box: Sandbox, tmp_path: Path) -> None:
    path = box.job("true")
    gone = tmp_path / "gone"
    gone.mkdir()
    box.program = ("sh", "-c", f'cd "{gone}" && rmdir "{gone}" && exec "$@"', "sh", *box.program)
    result = box.run("submit", path)
    assert result.code == 3, result
    assert "Traceback" not in result.err


def test_paths_that_are_not_utf8(box: Sandbox) -> None:
    folder = box.work / os.fsdecode(b"\xffspool")
    env = {"HPCFRUGAL_SPOOL": str(folder)}
    path = box.job("echo ran", output="o")
    assert box.run("submit", "--dry-run", path, env=env).code == 0
    box.env |= env
    printed = json.loads(box.ok("submit", "--json", path))
    assert box.wait_over(printed["job_id"]) == "COMPLETED"
    assert (box.work / "o").read_text() == "ran\n"
    assert len(list(folder.glob("20??-??/*/run.json"))) == 1
    box.ok("ledger", "sync")


@pytest.mark.slow
def test_nothing_is_written_that_the_encoding_lacks(box: Sandbox) -> None:
    env = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for argv in (["forecast", "--list"], ["doctor"], ["report"], ["submit", "ü.yaml"], ["sübmit"]):
        result = box.run(*argv, env=env)
        assert result.code in (0, 2, 3), result
        assert (result.out + result.err).isascii(), argv
        assert result.out + result.err != "", argv


def test_a_terminal_that_is_not_utf8(box: Sandbox) -> None:
    for argv in (["doctor"], ["status"], ["init", "ü.yaml"], ["--help"]):
        result = box.run(*argv, env={"PYTHONIOENCODING": "latin-1"})
        assert result.code in (0, 3), result
        assert "Traceback" not in result.err, argv
        assert "✓" not in result.out
