"""The log in which an operator's agent stores the power of nodes, and the meter that reads it at sync.

``<log>/<YYYY-MM>/<node>.jsonl``, one JSON object a line with ``wall_ns``, ``power_w`` and ``source``. All users can
read it. It is used only if the file and the folders above it belong to the owner named in the settings and no other
user can write there; otherwise users could forge readings.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from hpcfrugal.core.errors import Unreachable
from hpcfrugal.core.safe_read import UnsafeFile, open_owned, parse_json
from hpcfrugal.core.section import ValueType, optional, required
from hpcfrugal.meters.base import SECOND_NS, Meter, MeterAnswer, PowerSeries, Refusal
from hpcfrugal.settings.values import AbsolutePath
from hpcfrugal.spool import encode_node

MAX_MONTH_BYTES = 256 * 1024 * 1024
"""Limit for a node's file of one month; at 80 bytes a line that is a sample each 0.8 s."""

_MAX_LINE_BYTES = 4096


def log_file(log: Path, node: str, wall_ns: int) -> Path:
    """The file for samples of ``node`` at this time."""
    month = datetime.fromtimestamp(wall_ns // SECOND_NS, UTC)
    return log / f"{month:%Y-%m}" / f"{encode_node(node)}.jsonl"


def append(log: Path, node: str, wall_ns: int, power_w: float, source: str, owner_uid: int | None = None) -> None:
    """Append one sample in a single write. Raises ``OSError``, also if the file of the month is full.

    The folders must belong to ``owner_uid`` (default: the user of this process), and nobody else may write there: no
    meter would read other ones, and a link there could lead to any file of the agent's user.
    """
    owner_uid = os.geteuid() if owner_uid is None else owner_uid
    path = log_file(log, node, wall_ns)
    log.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _folder(log, owner_uid) as folder, _folder(path.parent, owner_uid, folder) as month:
        _append(path, month, {"wall_ns": wall_ns, "power_w": power_w, "source": source})


@contextmanager
def _folder(path: Path, owner_uid: int, above: int | None = None) -> Iterator[int]:
    """A descriptor of the directory, which is made if missing; ``above`` is that of its parent."""
    name: Path | str = path if above is None else path.name
    try:
        try:
            os.mkdir(name, 0o755, dir_fd=above)
            made = True
        except FileExistsError:
            made = False
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from None
    try:
        if made:
            os.fchmod(descriptor, 0o755)  # regardless of the umask: users have to read it
        found = os.fstat(descriptor)
        if (why := _forgeable(path, found, owner_uid)) is not None:
            raise OSError(errno.EPERM, why, str(path))
        yield descriptor
    finally:
        os.close(descriptor)


def _forgeable(folder: Path, found: os.stat_result, owner_uid: int) -> str | None:
    """Why others than the owner could write into a folder; None if they cannot."""
    if found.st_uid != owner_uid:
        return f"belongs to uid {found.st_uid}, not to uid {owner_uid}, the owner in the settings"
    return f"can be written by other users: chmod go-w {folder}" if found.st_mode & 0o022 else None


def _append(path: Path, month: int, sample: Mapping[str, object]) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path.name, flags, 0o644, dir_fd=month)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from None
    try:
        found = os.fstat(descriptor)
        if found.st_size == 0:
            os.fchmod(descriptor, 0o644)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_MONTH_BYTES:
            raise OSError(errno.EFBIG, "is full, or not a regular file", str(path))
        data = json.dumps(sample, separators=(",", ":")).encode() + b"\n"
        if os.write(descriptor, data) != len(data):
            # The disk is full; the next sample must start on a new line.
            os.write(descriptor, b"\n")
            raise OSError(errno.ENOSPC, "was not written completely: no space left", str(path))
    finally:
        os.close(descriptor)


def _uid_of(value: Any) -> int:
    """The uid of a user's name or number."""
    if type(value) is int and 0 <= value < 2**32:
        return value
    if not isinstance(value, str):
        raise ValueError("needs a user's name or number")
    import pwd

    try:
        return pwd.getpwnam(value).pw_uid
    except (KeyError, ValueError):
        raise ValueError(f"is not a user of this machine: {value[:40]!r}") from None


class LoggedMeter(Meter):
    """A meter that an agent reads continuously into ``log``; the log is read at sync."""

    log: Path = required(AbsolutePath, "", "/var/lib/hpcfrugal/power")
    owner: int = optional(ValueType(_uid_of), default=0)
    """The uid of the user whose log is read; default: root."""

    @property
    def is_local(self) -> bool:
        """Whether ``power_w`` reads only the machine that it runs on."""
        return False

    def power_w(self, node: str) -> float:
        """See ``PowerSource.power_w``."""
        raise NotImplementedError

    def close(self) -> None:
        """See ``PowerSource.close``."""

    @property
    def detail(self) -> str:
        return str(self.log)

    def fetch(self, nodes: Sequence[str], start_ns: int, end_ns: int) -> Mapping[str, MeterAnswer]:
        """See ``Meter.fetch``."""
        _check_folder(self.log, self.owner)
        answers: dict[str, MeterAnswer] = {}
        for node in nodes:
            points: list[tuple[int, float]] = []
            try:
                for path in _files(self.log, node, start_ns, end_ns):
                    _check_folder(path.parent, self.owner)
                    file, state = open_owned(path, self.owner)
                    with file:
                        points.extend(_read(file, state.size, self.source, start_ns, end_ns))
            except (UnsafeFile, OSError) as error:
                answers[node] = Refusal(f"{path}: {error}")
                continue
            if points:
                answers[node] = PowerSeries("power", points)
        return answers


def _files(log: Path, node: str, start_ns: int, end_ns: int) -> list[Path]:
    """The existing files of the months from start to end, in order."""
    times_ns = [*range(start_ns, end_ns, 27 * 86_400 * SECOND_NS), end_ns]
    paths = dict.fromkeys(log_file(log, node, at_ns) for at_ns in times_ns)
    return [path for path in paths if os.path.lexists(path)]


def _check_folder(folder: Path, owner_uid: int) -> None:
    try:
        found = folder.lstat()
    except OSError as error:
        raise Unreachable(f"{folder} cannot be read: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise Unreachable(f"{folder} is not a directory")
    if (why := _forgeable(folder, found, owner_uid)) is not None:
        raise Unreachable(f"{folder} {why}")


def _read(file: BinaryIO, size: int, source: str, start_ns: int, end_ns: int) -> Iterator[tuple[int, float]]:
    """Samples in the window. Apart from clock changes the file is in order of time, so only a part of it is read."""
    _seek(file, size, start_ns)
    for line in file:
        sample = _sample(line, source)
        if sample is None or sample[0] < start_ns:
            continue
        if sample[0] > end_ns:
            return
        yield sample


def _seek(file: BinaryIO, size: int, start_ns: int) -> None:
    """Seek to a line at or before the start of the window, by bisection over the bytes of the file."""
    low, high = 0, size
    while high - low > _MAX_LINE_BYTES:
        middle = (low + high) // 2
        at_ns = _time_after(file, middle)
        if at_ns is None or at_ns >= start_ns:
            high = middle
        else:
            low = middle
    file.seek(low)
    if low:
        file.readline(_MAX_LINE_BYTES)


def _time_after(file: BinaryIO, offset: int) -> int | None:
    """The time of the first complete sample after ``offset``, None if there is none nearby."""
    file.seek(offset)
    file.readline(_MAX_LINE_BYTES)
    for _ in range(4):
        sample = _sample(file.readline(_MAX_LINE_BYTES), None)
        if sample is not None:
            return sample[0]
    return None


def _sample(line: bytes, source: str | None) -> tuple[int, float] | None:
    """The time and watts of a line; None if it is incomplete, from another source or not a sample."""
    try:
        data = parse_json(line)
        wall_ns, power_w = data["wall_ns"], data["power_w"]
        mine = source is None or data["source"] == source
    except (ValueError, KeyError, TypeError):
        return None
    if not mine or type(wall_ns) is not int or type(power_w) not in (int, float):
        return None
    try:
        return wall_ns, float(power_w)
    except OverflowError:
        return None
