"""What sacct printed, kept in the spool as it was: ``<spool>/accounting/<YYYY-MM>/<name>.sacct``.

The first line of a file is JSON and says what was asked of which cluster, and when; the rest is sacct's own text with
its header. A day that is asked for again gets a file of its own; the older one is removed where all of its jobs are in
the newer one, so that nothing is lost when Slurm's database is purged. A file that somebody saved is copied into
``imported``, under a name made from its content.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hpcfrugal.core.files import write_atomic
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import MAX_WALL_NS, MIN_WALL_NS, InvalidRecord, Range, codec
from hpcfrugal.core.safe_read import FileState, Unreadable, UnsafeFile, open_owned
from hpcfrugal.core.time import from_ns
from hpcfrugal.spool.foldered import FolderedFiles, OnSkip
from hpcfrugal.spool.layout import ACCOUNTING_DIR, SPOOL_SCHEMA, encode_node, own_folder

_FILES = FolderedFiles(
    re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])|imported"),
    re.compile(r"[A-Za-z0-9%_-][A-Za-z0-9._%-]*\.sacct"),
    "a folder of texts of sacct",
    "a text of sacct",
)
_MAX_HEADER = 4096

_WALL = Range(MIN_WALL_NS, MAX_WALL_NS)


@dataclass(frozen=True, slots=True)
class AccountingQuery:
    """What was asked: jobs of ``[since_wall_ns, until_wall_ns)`` of ``users`` (``*``: all that Slurm shows), at
    ``asked_wall_ns``.

    ``since_wall_ns`` and ``until_wall_ns`` are None for a text that somebody saved; ``timezone`` is the zone of its
    times without one, ``title`` the name that its file had. ``cluster`` is that of rows that do not name one.
    """

    cluster: str
    asked_wall_ns: Annotated[int, _WALL]
    users: str
    since_wall_ns: Annotated[int | None, _WALL] = None
    until_wall_ns: Annotated[int | None, _WALL] = None
    timezone: str | None = None
    title: str | None = None

    @property
    def zone(self) -> tzinfo | None:
        """The zone of times without one. Raises ``ValueError`` where there is no such zone."""
        return None if self.timezone is None else zone_named(self.timezone)

    @property
    def day_name(self) -> str:
        """How the names of all files of this cluster, day and users begin."""
        day = f"{from_ns(self.since_wall_ns or 0):%Y%m%d}"
        return f"{day}.{encode_node(self.cluster)[:60]}.{encode_node(self.users)[:60]}."


def zone_named(name: str) -> tzinfo:
    """A zone of the time zone database. Raises ``ValueError`` for any other name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name[:60]!r} is not a time zone such as Europe/Berlin or UTC") from None


def accounting_dir(spool_root: Path) -> Path:
    """The folder of a spool's texts of sacct, whether it exists or not."""
    return spool_root / ACCOUNTING_DIR


def accounting_texts(spool_root: Path, on_skip: OnSkip | None = None) -> list[Path]:
    """Every text of sacct, in order. ``on_skip`` is called for links and all other entries, with the reason."""
    return _FILES.below(accounting_dir(spool_root), on_skip)


@contextmanager
def open_accounting(path: Path, owner_uid: int) -> Iterator[tuple[AccountingQuery, TextIO, FileState]]:
    """What was asked, and the text from its header on. Raises ``UnsafeFile``."""
    file, state = open_owned(path, owner_uid)
    with file:
        try:
            first = file.readline(_MAX_HEADER)
            content = json.loads(first.decode("utf-8", "surrogateescape"))
        except OSError as error:
            raise Unreadable(error) from error
        except (ValueError, RecursionError):
            raise UnsafeFile("does not begin with what was asked, as JSON") from None
        if not isinstance(content, dict) or content.get("schema") != SPOOL_SCHEMA:
            raise UnsafeFile(f"does not begin with what was asked, as JSON with schema {SPOOL_SCHEMA}")
        problems: list[str] = []
        try:
            query = codec(AccountingQuery).read(content, problems)
            _ = query.zone
        except (InvalidRecord, ValueError) as error:
            raise UnsafeFile(f"is not valid: {error}") from None
        if problems:
            raise UnsafeFile(f"is not valid: {problems[0]}")
        # Only the end of a line ends a row: names may hold other characters that break lines.
        yield query, io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="\n"), state


def store_answer(spool_root: Path, query: AccountingQuery, text: str) -> Path:
    """Keep what sacct answered for a day, whose first two columns are JobID and Submit. Raises ``OSError``."""
    month = own_folder(spool_root, ACCOUNTING_DIR, f"{from_ns(query.since_wall_ns or 0):%Y-%m}")
    older = [path for path in month.glob(f"{query.day_name}*.sacct") if not path.is_symlink()]
    path = month / f"{query.day_name}{from_ns(query.asked_wall_ns):%Y%m%dT%H%M%S}.sacct"
    data = text.encode("utf-8", "replace")
    write_atomic(path, _content(query, data))
    jobs = _jobs(data)
    for old in older:
        if old != path and _jobs(old.read_bytes().partition(b"\n")[2]) <= jobs:
            old.unlink(missing_ok=True)
    return path


_CELL = re.compile(rb"[^A-Za-z0-9._+\[\]:-]+")


def _jobs(text: bytes) -> frozenset[bytes]:
    """The id and the time of submission in each line, whatever is between them."""
    return frozenset(b" ".join(_CELL.split(line, maxsplit=2)[:2]) for line in text.split(b"\n")[1:])


def store_text(spool_root: Path, query: AccountingQuery, data: bytes) -> Path:
    """Keep a text that somebody saved; the same text is kept once. Raises ``OSError``."""
    folder = own_folder(spool_root, ACCOUNTING_DIR, "imported")
    path = folder / f"{hashlib.sha256(data).hexdigest()[:32]}.sacct"
    write_atomic(path, _content(query, data))
    return path


def _content(query: AccountingQuery, data: bytes) -> bytes:
    document: dict[str, Any] = {"schema": SPOOL_SCHEMA, **codec(AccountingQuery).write(query)}
    return f"{json.dumps(document)}\n".encode() + data


def day_start_ns(at_ns: int) -> int:
    """When the UTC day of an instant began."""
    day = datetime.fromtimestamp(at_ns // 10**9, UTC).replace(hour=0, minute=0, second=0)
    return round(day.timestamp()) * 10**9
