"""Small files that are read repeatedly, through what happens to them."""

from __future__ import annotations

from pathlib import Path

from hpcfrugal.sidecar.sysfs import CountFile


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
