"""Names of a job's output file, where Slurm is not there to fill them in."""

from __future__ import annotations

import socket

DEFAULT_OUTPUT = "local-%j.out"
"""What a local job's output is called where its file names none."""


def expand_output(pattern: str, *, job_id: str, name: str, user: str) -> str:
    """Fill in sbatch's filename pattern as far as one job on one machine knows it (sbatch(1), FILENAME PATTERN)."""
    known = {"j": job_id, "A": job_id, "J": job_id, "x": name, "u": user, "N": socket.gethostname().split(".")[0],
             "n": "0", "t": "0", "s": "batch", "%": "%"}  # fmt: skip
    text = ""
    rest = pattern
    while rest:
        before, percent, rest = rest.partition("%")
        text += before
        if percent:
            letter = rest.lstrip("0123456789")[:1]
            digits = len(rest) - len(rest.lstrip("0123456789"))
            text += known.get(letter, "%" + rest[: digits + 1])
            rest = rest[digits + 1 :]
    return text
