"""The spool file: whole lines, one writer, and a full or vanishing disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from small_disk import fill

from hpcfrugal.sidecar import log
from hpcfrugal.sidecar.writer import Locked, Writer


@pytest.fixture(autouse=True)
def _fresh_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_logged", set())


def test_lines_are_appended_and_private(tmp_path: Path) -> None:
    path = tmp_path / "f"
    writer = Writer(str(path))
    writer.begin("header", "first")
    writer.line("second")
    writer.close()
    assert path.read_text() == "header\nfirst\nsecond\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_second_writer_is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    first, second = Writer(str(tmp_path / "f")), Writer(str(tmp_path / "f"))
    first.begin("a")
    with pytest.raises(Locked):
        second.begin("b")
    first.close()
    second.begin("b")
    second.close()
    assert (tmp_path / "f").read_text() == "a\nb\n"


def test_torn_last_line_of_a_killed_sidecar_is_closed_first(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"kind":"rec')
    writer = Writer(str(tmp_path / "f"))
    writer.begin("header")
    writer.close()
    assert (tmp_path / "f").read_text() == '{"kind":"rec\nheader\n'


@pytest.mark.parametrize("how", ["deleted", "emptied"])
def test_file_that_starts_again_gets_a_header(tmp_path: Path, how: str) -> None:
    """Also where the new file has the number of the deleted one, as on many file systems."""
    path = tmp_path / "f"
    writer = Writer(str(path))
    writer.begin("header", "first")
    writer.line("second")
    if how == "deleted":
        path.unlink()
    else:
        os.truncate(path, 0)
    writer.line("third")
    writer.line("fourth")
    writer.close()
    assert path.read_text() == "header\nfirst\nthird\nfourth\n"


def test_full_disk_drops_lines_and_sampling_continues(small_disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, ballast = small_disk / "f", small_disk / "ballast"
    writer = Writer(str(path))
    writer.begin("header", "first")
    ballast.write_bytes(b"x" * 56_000)
    for number in range(20):
        writer.line(f"{number} " + "y" * 1000)
    ballast.unlink()
    writer.line("after")
    writer.close()
    lines = path.read_text().splitlines()
    assert lines[:2] == ["header", "first"]
    assert lines[-1] == "after"
    assert "19 " + "y" * 1000 not in lines
    assert capfd.readouterr().err.count("No space left on device; sampling continues") == 1


def test_header_is_written_once_there_is_space(small_disk: Path) -> None:
    path, ballast = small_disk / "f", small_disk / "ballast"
    ballast.touch()
    fill(ballast)
    writer = Writer(str(path))
    writer.begin("header", "first")
    writer.line("lost")
    ballast.unlink()
    writer.line("second")
    writer.close()
    assert path.read_text() == "header\nfirst\nsecond\n"


def test_directory_that_appears_late(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "later"
    writer = Writer(str(folder / "f"))
    writer.begin("header", "first")
    writer.line("lost")
    folder.mkdir()
    writer.line("second")
    writer.close()
    assert (folder / "f").read_text() == "header\nfirst\nsecond\n"
    assert capfd.readouterr().err.count("\n") == 1


def test_directory_deleted_and_made_again_gets_a_header(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    writer = Writer(str(folder / "f"))
    writer.begin("header", "first")
    shutil.rmtree(folder)
    writer.line("lost")
    folder.mkdir()
    # a file that is still being written may get the same inode number, so let another take it
    (folder / "other").touch()
    writer.line("second")
    writer.close()
    assert (folder / "f").read_text().splitlines()[-1] == "second"
    assert (folder / "f").read_text().startswith("header\nfirst\n")


def test_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep\n")
    (tmp_path / "f").symlink_to(tmp_path / "precious")
    writer = Writer(str(tmp_path / "f"))
    writer.begin("header")
    writer.close()
    assert (tmp_path / "precious").read_text() == "keep\n"


def test_pipe_does_not_block(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "f")
    writer = Writer(str(tmp_path / "f"))
    writer.begin("header")
    writer.close()
    assert "not a regular file" in capfd.readouterr().err
