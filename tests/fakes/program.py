"""The program called in this process, with what it printed."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from hpcfrugal.cli.root import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


def call_program(capsys: pytest.CaptureFixture[str], *argv: str) -> Result:
    """Run a command to its end."""
    with pytest.raises(SystemExit) as ended:
        main(list(argv))
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return Result(ended.value.code, out, err)
