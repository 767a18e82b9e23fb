"""A result goes into what the user named: a file in one step, anything else as it is, and links are followed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from sandbox import Sandbox

from hpcfrugal.cli.console import console
from hpcfrugal.cli.output import can_be_written, write_result
from hpcfrugal.cli.root import root
from hpcfrugal.core.errors import SetupError


def test_a_file_is_new_or_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "out"
    old = os.umask(0o027)
    try:
        write_result(path, "one")
        assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("one\n", 0o640)
        path.chmod(0o604)
        before = path.open()
        write_result(path, "two")
    finally:
        os.umask(old)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("two\n", 0o604)
    with before:
        assert before.read() == "one\n"  # who had it open has the old one, whole
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "link", tmp_path / "there/target"
    link.symlink_to("there/target")
    for text in ("made", "replaced"):
        assert can_be_written(link)
        write_result(link, text)
        assert link.is_symlink()
        assert target.read_text() == f"{text}\n"


def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(path.read_text()), daemon=True)
    reader.start()
    assert can_be_written(path)
    write_result(path, "text")
    reader.join(10)
    assert got == ["text\n"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_an_error_names_what_the_user_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere/out"
    assert not can_be_written(path)
    with pytest.raises(SetupError) as caught:
        write_result(path, "x")
    assert caught.value.message == f"{path} cannot be written: No such file or directory"


def test_what_is_printed_to_anyway_is_not_cut_off(tmp_path: Path) -> None:
    code = (
        "import os; from pathlib import Path; from hpcfrugal.cli.output import write_result\n"
        "os.write(1, b'before\\n'); write_result(Path('/dev/stdout'), 'text'); os.write(1, b'after\\n')"
    )
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True, timeout=30)
    assert (tmp_path / "out").read_text() == "before\ntext\nafter\n"


def test_the_commands_follow_links(box: Sandbox) -> None:
    (box.work / "link").symlink_to("target.json")
    box.ok("forecast", "--list", "--output", "link")
    assert (box.work / "link").is_symlink()
    before = (box.work / "target.json").read_text()
    result = box.run("forecast", "--list", "--output", "nowhere/x")
    assert (result.code, result.err) == (3, "error: nowhere/x cannot be written: No such file or directory\n")
    assert box.run("run", "-o", "link", "--", "true").code == 0
    assert (box.work / "link").is_symlink()
    assert (box.work / "target.json").read_text() != before
    assert box.run("run", "-o", "nowhere/x", "--", "touch", "ran").code == 2
    assert not (box.work / "ran").exists()


@pytest.mark.parametrize("name", ["ledger", "ledger import", "ledger export", "queue", "site"])
def test_lists_of_commands_have_whole_sentences(name: str) -> None:
    found = CliRunner().invoke(root, [*name.split(), "--help"], terminal_width=80)
    _, _, commands = found.output.partition("Commands:\n")
    assert found.exit_code == 0
    assert commands
    assert not [line for line in commands.splitlines() if line.endswith("...")]
    assert commands.rstrip().endswith(".")


def test_a_table_in_a_pipe_has_220_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    assert console().width == 220
