"""Processes that read runs beside the one that writes them to the ledger, where a sync has very many to read.

Reading is most of the work and needs no ledger. A few runs are read without them: to start them takes longer.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from types import TracebackType

from hpcfrugal.ledger.ingest import ReadRun, read_files
from hpcfrugal.ledger.run_pickle import pickle_to
from hpcfrugal.ledger.run_state import RunState

_MOST_PROCESSES = 4
"""A sync leaves the other CPUs of a login node to its users."""

_READ_ALONE = 256
"""So many runs are read before processes are started, which takes as long as to read a hundred."""

_CODE = "import sys; sys.path[:] = sys.argv[1:]; from hpcfrugal.ledger import run_readers as it; it.read_for_parent()"

ReadRuns = list[ReadRun | str]
"""What was read of each run, or why it cannot be read."""


class RunReaders:
    """Reads runs, of which ``total`` are to be looked at, by processes if there are enough. A context manager."""

    def __init__(self, total: int) -> None:
        cpus = len(os.sched_getaffinity(0))
        worth_it = sys.executable and cpus > 1 and total >= 4 * _READ_ALONE
        self._most = min(cpus, _MOST_PROCESSES) if worth_it else 0
        self._read = 0
        self._opened = ExitStack()
        self._threads: ThreadPoolExecutor | None = None
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()

    def __enter__(self) -> RunReaders:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, of: TracebackType | None) -> None:
        self._opened.close()

    @property
    def ahead(self) -> int:
        """How many calls of ``read`` may be made before the result of the first is asked for."""
        return 0 if self._threads is None else 2 * self._most

    def read(self, states: Sequence[RunState]) -> Callable[[], ReadRuns]:
        """Begin to read what has changed of these runs; the result is got by a call of what is returned."""
        if self._threads is None and self._most and self._read >= _READ_ALONE:
            self._start()
        self._read += len(states)
        if self._threads is None or not states:
            return lambda: read_here(states)
        return self._threads.submit(self._ask, states).result

    def _start(self) -> None:
        try:
            for _ in range(self._most):
                process = subprocess.Popen(
                    [sys.executable, "-I", "-c", _CODE, *sys.path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C ends this process, and so their input
                )
                self._opened.callback(_end, process)
                self._free.put(process)
        except OSError:
            self._most = 0
            return
        self._threads = ThreadPoolExecutor(self._most)
        self._opened.callback(self._threads.shutdown, cancel_futures=True)

    def _ask(self, states: Sequence[RunState]) -> ReadRuns:
        """The answer of a process that has nothing else to do; what it does not read is read here."""
        process = self._free.get()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            pickle_to(list(states), process.stdin)
            found: ReadRuns = pickle.load(process.stdout)
            return found
        except (OSError, EOFError, pickle.UnpicklingError):
            return read_here(states)
        finally:
            self._free.put(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def read_here(states: Sequence[RunState]) -> ReadRuns:
    """Read what has changed of these runs in this process."""
    found: ReadRuns = []
    for state in states:
        try:
            found.append(read_files(state))
        except OSError as error:
            found.append(f"{state.listing.run_dir.path}: cannot be read: {error.strerror}")
    return found


def read_for_parent() -> None:
    """Read the runs that standard input names, as long as it is open, and write what was read to standard output."""
    import gc

    gc.disable()
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            states: list[RunState] = pickle.load(source)
        except EOFError:
            return
        pickle_to(read_here(states), target)
        gc.collect(0)
