"""Names of a job's output file without Slurm to expand them."""

from __future__ import annotations

import socket

DEFAULT_OUTPUT = "local-%j.out"
"""Output file of a local job whose job file names none."""


def expand_output(pattern: str, *, job_id: str, name: str, user: str) -> str:
    """Expand sbatch's filename pattern as far as it applies to one job on one machine (sbatch(1), FILENAME PATTERN)."""
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
