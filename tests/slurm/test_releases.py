"""What differs between releases of Slurm stands in one table, in docs/lab.md."""

from __future__ import annotations

from pathlib import Path

import hpcfrugal

PACKAGE = Path(hpcfrugal.__file__).parent
DOCS = Path(__file__).resolve().parents[2] / "docs/lab.md"


def test_the_table_names_the_files_that_read_each_form() -> None:
    text = DOCS.read_text(encoding="utf-8").partition("### What differs")[2].partition("###")[0]
    rows = [line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 6
    for *cells, places in rows:
        assert len(cells) == 4, cells
        files = [word for word in places.split("`")[1::2] if word.endswith(".py")]
        assert files or places.startswith("not read: "), cells[0]
        assert [file for file in files if not (PACKAGE / file).is_file()] == []
