"""Files of others: how much of one is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpcfrugal.core.safe_read import UnsafeFile, read_regular


def test_a_document_has_32_mib_at_most(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.touch()
    os.truncate(path, 33_554_432)
    content, status = read_regular(path)
    assert len(content) == status.st_size == 33_554_432
    os.truncate(path, 33_554_433)
    with pytest.raises(UnsafeFile, match=r"^larger than 33554432 bytes$"):
        read_regular(path)
