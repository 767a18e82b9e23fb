"""A job from a file: a job file in YAML, or an existing batch script as it is."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.safe_read import Unreadable, UnsafeFile, read_start
from hpcfrugal.core.section import KeyPath
from hpcfrugal.job.batch_script import Directives, given_options, read_directives, value_at
from hpcfrugal.job.model import JobSpec
from hpcfrugal.job.names import name_from_path
from hpcfrugal.job.problems import checked_job, placed
from hpcfrugal.job.python_environment import missing_environments
from hpcfrugal.job.yaml_source import Source, read_yaml

MAX_FILE_BYTES = 1_000_000
MAX_SCRIPT_BYTES = 4_194_304
"""Slurm's own limit of a batch script (slurm.conf(5), ``max_script_size``)."""
_PROGRAMS = {".py": "python", ".R": "Rscript", ".jl": "julia"}
"""Programs that people hand to `submit`, by the suffix of a file without ``#!``, and what runs them."""

SCRIPT_SUFFIXES = frozenset({".sh", ".bash", ".sbatch", ".slurm"})


def load_job(path: Path) -> JobSpec:
    """The job that a file describes.

    A file that begins with ``#!``, or is named like a script, is a batch script: the job runs it unchanged and
    its #SBATCH lines are kept in ``directives``. Any other file is a job file; relative paths of its ``script`` and
    ``workdir`` start from the file's directory.

    Raises:
        InputError: with everything that is wrong.
    """
    path = Path(path)
    where = _name_of_file(path)
    raw = _read_head(path, where, MAX_SCRIPT_BYTES)
    if is_script(path, raw):
        return _from_script(path, raw, where)
    if (program := _PROGRAMS.get(path.suffix)) is not None:
        command = f"{program} {shlex.quote(str(path))}"
        hint = f"measure it here with `hpcfrugal run -- {command}`, or write a job file with `command: {command}`"
        raise InputError.at(where, "is a program, not a job file", hint)
    if len(raw) > MAX_FILE_BYTES:
        raise InputError.at(where, "is larger than 1 MB", "a job file has a few lines; is this the right file?")
    source = read_yaml(_decode(raw, where), where)
    if source.value is None:
        raise InputError.at(where, "is empty", "write at least `command: python train.py`")
    if not isinstance(source.value, dict):
        raise InputError.at(where, "must be a mapping of keys", "write at least `command: python train.py`")
    return _from_values(source, path, where)


def job_from_mapping(data: Mapping[str, Any], where: str = "job") -> JobSpec:
    """The job that plain values describe; raises InputError with everything that is wrong."""
    job, found = checked_job(dict(data))
    if job is None:
        raise InputError(placed(where, None, found))
    return job


def job_in_folder(data: Mapping[str, Any], folder: Path, where: str) -> JobSpec:
    """The job of a job file with this content in ``folder``, as ``where`` in messages.

    Raises InputError with everything that is wrong.
    """
    return _from_values(Source(dict(data)), folder / "job.yaml", where)


def is_script(path: Path, begin: bytes = b"") -> bool:
    """Whether a file is a batch script, by its name or its first bytes."""
    return begin.startswith(b"#!") or path.suffix.lower() in SCRIPT_SUFFIXES


@contextmanager
def naming_lines(path: Path) -> Iterator[None]:
    """Add the line of the key to an InputError about a key of the job file ``path`` (``job.yaml: resources.nodes``)."""
    try:
        yield
    except InputError as error:
        raise InputError(_with_lines(Path(path), error.problems), hint=error.hint) from error


def _with_lines(path: Path, problems: Sequence[Problem]) -> Iterator[Problem]:
    begin = f"{path}: "
    source: Source | None = None
    if any(problem.where.startswith(begin) for problem in problems):
        try:
            where = _name_of_file(path)
            source = read_yaml(_decode(_read_head(path, where, MAX_FILE_BYTES), where), where)
        except InputError:
            pass  # a batch script, or a file that has changed since
    for problem in problems:
        key = tuple(problem.where.removeprefix(begin).split("."))
        line = source.lines.get(key) if source is not None and problem.where.startswith(begin) else None
        yield problem if line is None else replace(problem, where=f"{path}:{line}: {'.'.join(key)}")


def _name_of_file(path: Path) -> str:
    """The path as messages show it: escaped if it contains control characters."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def _read_head(path: Path, where: str, limit: int) -> bytes:
    """A regular file's content up to one byte more than ``limit``; raises InputError."""
    try:
        return read_start(path, limit + 1, follow=True)[0]
    except UnsafeFile as error:
        missing = isinstance(error, Unreadable) and isinstance(error.error, FileNotFoundError)
        raise InputError.at(where, "there is no such file" if missing else str(error)) from None


def _decode(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError.at(f"{where}:{line}", "is not UTF-8 text", "save the file as UTF-8") from None


def _from_values(source: Source, path: Path, where: str) -> JobSpec:
    data: dict[str, Any] = dict(source.value)
    problems: list[tuple[KeyPath, Problem]] = []
    if "directives" in data:
        data.pop("directives")
        problems.append((("directives",), Problem("directives", "is not a key of a job file", "use `resources`")))
    folder = path.absolute().parent
    script = data.get("script")
    found = Directives((), {}, ())
    if isinstance(script, str) and script.strip() and "\0" not in script:
        data["script"] = str(_from_folder(folder, script))
        shown_path = _name_of_file(Path(data["script"]))
        try:
            raw = _read_head(Path(data["script"]), shown_path, MAX_SCRIPT_BYTES)
            found = _directives(raw, shown_path, given_options(data))
        except InputError as error:
            found = Directives((), {}, error.problems)
        problems += [(("script",), Problem("script", f"{p.where}: {p.what}", p.hint)) for p in found.problems]
    for key in ("workdir", "venv", "conda"):
        value = data.get(key)
        if isinstance(value, str) and value.strip() and (key != "conda" or "/" in value):
            data[key] = str(_from_folder(folder, value))
    data = _fill(data, found.values)
    if data.get("name") is None:
        data["name"] = name_from_path(path.stem)
    data["directives"] = list(found.lines)
    job, more = checked_job(data)
    if job is not None:
        more = list(missing_environments(job))
    placed_problems = [*source.problems, *placed(where, source, [*problems, *more])]
    if job is None or placed_problems:
        raise InputError(placed_problems)
    return job


def _from_script(path: Path, raw: bytes, where: str) -> JobSpec:
    if not raw.startswith(b"#!"):
        raise InputError.at(where, "does not start with `#!`", "its first line must name a shell: #!/bin/bash")
    if len(raw) > MAX_SCRIPT_BYTES:
        raise InputError.at(where, "is larger than 4 MB, which Slurm refuses")
    if b"\0" in raw:
        raise InputError.at(where, "contains a NUL character, which Slurm refuses")
    if b"\r\n" in raw:
        line = raw[: raw.index(b"\r\n")].count(b"\n") + 1
        raise InputError.at(
            f"{where}:{line}", "has DOS line endings, which Slurm refuses", "convert the file with dos2unix"
        )
    found = _directives(raw, where)
    data = _fill({"script": str(path.absolute())}, found.values)
    # Without another name, sbatch names a job after its script, suffix included.
    data.setdefault("name", name_from_path(path.name))
    data["directives"] = list(found.lines)
    job, more = checked_job(data)
    problems = [*found.problems, *placed(where, None, more)]
    if job is None or problems:
        raise InputError(problems)
    return job


def _directives(raw: bytes, where: str, given: Set[str] = frozenset()) -> Directives:
    """The directives of anything that starts with ``#!``, as sbatch requires; none for other files."""
    if not raw.startswith(b"#!"):
        return Directives((), {}, ())
    return read_directives(raw.decode("utf-8", errors="surrogateescape"), where, given)


def _from_folder(folder: Path, text: str) -> Path:
    """A path in a job file: relative to the file's directory; ``~`` is the user's home."""
    if text == "~" or text.startswith("~/"):
        try:
            return Path(text).expanduser()
        except RuntimeError:
            raise InputError.at(
                text, "your home directory is not known", "set HOME, or write an absolute path"
            ) from None
    return folder / text


def _fill(data: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The job file's values, with those of the script's directives where the file sets nothing."""
    filled = dict(data)
    for key, value in values.items():
        if value_at(data, key) is not None:
            continue
        section, _, name = key.rpartition(".")
        if not section:
            filled[name] = value
        elif isinstance(inner := filled.get(section) or {}, dict):
            filled[section] = {**inner, name: value}  # anything but a mapping is reported by the check of the section
    return filled
