"""The process that asks Slurm by pyslurm; see ``pyslurm_worker``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import Any

from hpcfrugal.core.errors import SetupError
from hpcfrugal.slurm.command import NoAnswer
from hpcfrugal.slurm.environment import library_environment

_PROGRAM = Path(__file__).with_name("pyslurm_worker.py")
_TIMEOUT_S = 5.0

PyslurmAnswer = dict[str, Any]
"""What ``pyslurm_worker.PyslurmWorker.answer`` returns."""


class PyslurmProcess:
    """Starts the process at once, and stops it at the end of a ``with`` block. Several threads may ask.

    Raises:
        SetupError: it cannot be started.
    """

    def __init__(self) -> None:
        self._begun = time.monotonic()
        try:
            with ExitStack() as stack:
                self._errors = stack.enter_context(tempfile.TemporaryFile())
                self._process = subprocess.Popen(
                    # Without -P its folder, whose `queue` is ours, would come before the standard library.
                    [sys.executable, "-P", str(_PROGRAM)],
                    env=library_environment(os.environ),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    process_group=0,  # Ctrl-C does not reach it
                )
                stack.pop_all()  # `_read` closes it
        except OSError as error:
            raise SetupError(f"the process for pyslurm cannot be started: {error.strerror}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions, self._answers = self._process.stdin, self._process.stdout
        self._unanswered: deque[Future[PyslurmAnswer]] = deque()
        self._asking = Lock()
        self._over = False
        self._first: Future[PyslurmAnswer] = Future()
        self._unanswered.append(self._first)
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> PyslurmProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asked = self._unanswered and self._first.done()
        if not asked:
            self._process.kill()
        with suppress(OSError):
            self._questions.close()
        if not asked:  # else it ends when it has done what it was asked
            self._reader.join()

    @property
    def is_ready(self) -> bool:
        """Whether it has found Slurm, or would name the reason why not, and has not ended."""
        return self._first.done() and not self._over

    def configuration(self) -> Mapping[str, Any]:
        """What decides whether pyslurm can be used: its version, and what Slurm has for ``pyslurm_worker.FACTS``.

        Raises:
            SetupError: pyslurm does not work here, or did not find Slurm in time.
        """
        left_s = self._begun + _TIMEOUT_S - time.monotonic()
        try:
            found: Mapping[str, Any] = self._first.result(max(0, left_s))["answer"]
        except TimeoutError:
            raise SetupError(f"pyslurm did not find Slurm within {_TIMEOUT_S:g} s") from None
        return found

    def ask(self, question: str, *arguments: Any) -> Future[PyslurmAnswer]:
        """Ask one of the questions of ``pyslurm_worker``. The reply is a NoAnswer where the process ended meanwhile,
        and a SetupError where it ended before it came to this question.

        Raises:
            SetupError: it has ended.
            UnicodeEncodeError: a text is not UTF-8, which pyslurm takes alone.
        """
        line = json.dumps([question, *arguments], ensure_ascii=False).encode() + b"\n"
        reply: Future[PyslurmAnswer] = Future()
        with self._asking:
            if self._over:
                raise SetupError("the process that asks Slurm by pyslurm has ended")
            self._unanswered.append(reply)
            with suppress(OSError):  # it has ended, which the reader notices
                self._questions.write(line)
                self._questions.flush()
        return reply

    def _read(self) -> None:
        for line in self._answers:
            if line.endswith(b"\n"):  # else it was killed while it wrote
                self._unanswered.popleft().set_result(json.loads(line))
        self._process.wait()
        with self._asking:
            self._over = True
        message = f"pyslurm does not work here: {self._last_error()}"
        for at, reply in enumerate(self._unanswered):
            reply.set_exception(SetupError(message) if at else NoAnswer(message))
        self._unanswered.clear()
        self._answers.close()
        self._errors.close()

    def _last_error(self) -> str:
        size = os.fstat(self._errors.fileno()).st_size
        printed = os.pread(self._errors.fileno(), 4096, max(0, size - 4096)).decode(errors="replace")
        *_, last = printed.strip().splitlines() or [f"exit code {self._process.returncode}"]
        return last[:200]
