"""One process as procfs shows it (proc_pid_stat(5), proc_pid_io(5))."""

from __future__ import annotations

from .sysfs import parse_count, read_bytes, value_after


class Process:
    """A process at one look. ``own`` and ``reaped`` are its CPU time in ticks and its minor and major page faults,
    without and of the children that it has waited for; ``io_b`` is bytes read from and sent to storage with those
    of such children in it, None where that may not be read."""

    __slots__ = ("comm", "io_b", "own", "parent", "reaped", "rss_pages", "start")

    def __init__(self, stat: bytes) -> None:
        """Parse ``/proc/PID/stat``. Raises ValueError or IndexError for anything else.

        The name may hold blanks and brackets, so the fields are counted after its last bracket.
        """
        head, _, tail = stat.rpartition(b")")
        fields = tail.split()
        self.comm = head.partition(b"(")[2]
        self.parent = int(fields[1])
        self.own = (int(fields[11]) + int(fields[12]), int(fields[7]), int(fields[9]))
        self.reaped = (int(fields[13]) + int(fields[14]), int(fields[8]), int(fields[10]))
        self.start = int(fields[19])
        self.rss_pages = int(fields[21])
        self.io_b: tuple[int, int] | None = None


def read_process(proc: str, pid: int) -> Process | None:
    """The process ``pid``; None where there is no such process any more."""
    try:
        return Process(read_bytes(f"{proc}/{pid}/stat", 1024))
    except (OSError, ValueError, IndexError):
        return None


def read_io_b(proc: str, pid: int) -> tuple[int, int] | None:
    """Bytes that a process and the children it has waited for have read from storage, and sent there.

    It is ``read_bytes`` and ``write_bytes`` of ``/proc/PID/io``: what was fetched from storage, not what the page
    cache had, and what was written to pages that go to storage, less nothing for files deleted before they did.
    Pipes, sockets and tmpfs are not in it. None for a process of another user, or one that hides its memory.
    """
    try:
        text = read_bytes(f"{proc}/{pid}/io", 512)
    except OSError:
        return None
    read_b, written_b = (parse_count(value_after(text, key, b":")) for key in (b"read_bytes", b"write_bytes"))
    return None if read_b is None or written_b is None else (read_b, written_b)
