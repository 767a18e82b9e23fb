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

from hpcfrugal.ledger.footprints import Intensities
from hpcfrugal.ledger.ingest import ReadRun, read_files
from hpcfrugal.ledger.new_runs import NewRun, NewRunTerms, read_new
from hpcfrugal.ledger.run_pickle import pickle_to
from hpcfrugal.ledger.run_state import RunState
from hpcfrugal.spool import RunDir

_MOST_PROCESSES = 4
"""A sync leaves the other CPUs of a login node to its users."""

_WORTH_IT = 1024
"""To start processes takes as long as to read a hundred runs. Fewer than these are read without."""

_READ_ALONE = 64
"""So many runs are read before processes are started where perhaps most of those at hand have not changed."""

_CODE = "import sys; sys.path[:] = sys.argv[1:]; from hpcfrugal.ledger import run_readers as it; it.read_for_parent()"

DueRun = RunDir | RunState
"""A run that is to be read: one of which the ledger has nothing, or one that it has."""

ReadRuns = list[NewRun | ReadRun | str | None]
"""What was read of each run, or why it cannot be read, or cannot be written; None where a new run has no files."""


class RunReaders:
    """Reads runs, of which ``total`` are to be looked at, ``new`` of them at least for the first time, by processes if
    there are enough. A context manager.

    Only what is read without a process is computed by the ledger's ``intensity``.
    """

    def __init__(self, total: int, new: int, terms: NewRunTerms, intensity: Intensities) -> None:
        self._terms, self._intensity = terms, intensity
        cpus = len(os.sched_getaffinity(0))
        worth_it = sys.executable and cpus > 1 and total >= _WORTH_IT
        self._most = min(cpus, _MOST_PROCESSES) if worth_it else 0
        self._alone = 0 if new >= _WORTH_IT else _READ_ALONE
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

    def read(self, due: Sequence[DueRun]) -> Callable[[], ReadRuns]:
        """Begin to read what has changed of these runs; the result is got by a call of what is returned."""
        if self._threads is None and self._most and self._alone <= 0:
            self._start()
        self._alone -= len(due)
        if self._threads is None or not due:
            return lambda: read_here(due, self._terms, self._intensity)
        return self._threads.submit(self._ask, due).result

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

    def _ask(self, due: Sequence[DueRun]) -> ReadRuns:
        """The answer of a process that has nothing else to do; what it does not read is read here."""
        process = self._free.get()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            pickle_to((list(due), self._terms), process.stdin)
            found: ReadRuns = pickle.load(process.stdout)
            return found
        except (OSError, EOFError, pickle.UnpicklingError):
            return read_here(due, self._terms)
        finally:
            self._free.put(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def read_here(due: Sequence[DueRun], terms: NewRunTerms, intensity: Intensities | None = None) -> ReadRuns:
    """Read what has changed of these runs in this process."""
    found: ReadRuns = []
    for one in due:
        path = one.folder if isinstance(one, RunDir) else one.listing.run_dir.folder
        try:
            found.append(read_new(one, terms, intensity) if isinstance(one, RunDir) else read_files(one))
        except OSError as error:
            found.append(f"{path}: cannot be read: {error.strerror}")
        except OverflowError:
            found.append(too_large(path))
    return found


def too_large(path: str) -> str:
    """Why a run is not written of which a number is larger than a row can have."""
    return f"{path}: holds a number too large"


def read_for_parent() -> None:
    """Read the runs that standard input names, as long as it is open, and write what was read to standard output."""
    import gc

    gc.disable()
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            due, terms = pickle.load(source)
        except EOFError:
            return
        pickle_to(read_here(due, terms), target)
        gc.collect(0)
