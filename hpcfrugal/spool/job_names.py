"""How a user may name a job: by its job id, a run id or a part of it, its name, or ``latest``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from hpcfrugal.core.errors import Problem
from hpcfrugal.core.text import plain
from hpcfrugal.spool.layout import is_run_id

LATEST_RUN = "latest"

_LEAST_CHARACTERS = 4
_NAMED = 3


def short_job_id(job_id: str) -> str:
    """A job id for people: of a run of this machine, whose job id is its run id (with ``_3`` behind it for a task of an
    array, ``_[1-3]`` for several), the part by which it can be named."""
    run_id, underscore, task = job_id.partition("_")
    return f"{_random_part(run_id)}{underscore}{task}" if is_run_id(run_id) else job_id


def is_part_of_run_id(text: str, run_id: str) -> bool:
    """Whether ``text`` is the beginning or end of a run id. Digits alone are a job id, unless they are all after the
    hyphen."""
    if text.isdigit():
        return text == _random_part(run_id)
    return len(text) >= _LEAST_CHARACTERS and (run_id.startswith(text) or run_id.endswith(text))


def several_jobs(text: str, ids: Sequence[str]) -> Problem:
    """The mistake that ``text`` means more than one job; ``ids`` in the order of their submission."""
    last = ", ".join(map(short_job_id, ids[-_NAMED:]))
    return Problem(plain(text, 80), f"means {len(ids)} jobs, the last of them {last}", "use one of these ids")


def _random_part(run_id: str) -> str:
    return run_id.rpartition("-")[2]


_SHELLS_AND_PYTHON = r"(?:python|pypy|bash|sh|dash|zsh|ksh)[0-9.]*"
_INTERPRETER = re.compile(rf"{_SHELLS_AND_PYTHON}|(?:Rscript|julia|perl|ruby|node|octave|lua)[0-9.]*")
_CODE_OF_THESE = re.compile(r"-[A-Za-z]*c")
_CODE_OF_OTHERS = re.compile(r"-[A-Za-z]*[eE]|--eval|--print")
"""Options after which an interpreter's program follows as text, such as ``-lc`` of a shell and ``-ne`` of Perl."""

_SCRIPT = re.compile(r"\w[\w.+-]*\.[A-Za-z]\w*")
"""The name of a script, and no value of an option such as ``0.1``, nor one that a shell has to fill in."""


def name_of_command(words: Sequence[str]) -> str:
    """The program that a command runs, without its folder: the script or module that it gives to an interpreter, else
    its first word. ``words`` has one at least.
    """
    first = words[0].rpartition("/")[2]
    if _INTERPRETER.fullmatch(first):
        code_follows = _CODE_OF_THESE if re.fullmatch(_SHELLS_AND_PYTHON, first) else _CODE_OF_OTHERS
        for word, following in pairwise([*words[1:], ""]):
            if word == "-m" and following:
                return following
            if code_follows.fullmatch(word):
                break
            name = word.rpartition("/")[2]
            if not word.startswith("-") and _SCRIPT.fullmatch(name):
                return name
    return first or words[0]
