"""Small files that are read repeatedly, through what happens to them."""

from __future__ import annotations

from pathlib import Path

from hpcfrugal.sidecar.sysfs import CountFile, parse_cpus


def test_file_replaced_under_an_open_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "energy_uj"
    path.write_text("100")
    file = CountFile(str(path))
    assert [file.read_count(), file.read_count()] == [100, 100]
    (tmp_path / "new").write_text("300")
    (tmp_path / "new").rename(path)
    assert [file.read_count(), file.read_count()] == [300, 300]
    path.unlink()
    assert [file.read_count(), file.read_count()] == [None, None]
    path.write_text("500")
    assert file.read_count() == 500
    file.close()


def test_lists_of_cpus() -> None:
    assert parse_cpus("0,28") == [0, 28]
    assert parse_cpus("0-3,8\n") == [0, 1, 2, 3, 8]
    assert parse_cpus("8191") == [8191]
    wrong = ("", "a", "3-1", "0-99999999", "8192", "-1", "1-", "1-2-3", "0,,1", "0,", "4,0", "0-3,2", "0-3:1/2")
    assert [parse_cpus(text) for text in wrong] == [[]] * len(wrong)
