"""Code that runs as another user of this machine, in a process of its own. Only root can become another user."""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class OtherUser(NamedTuple):
    """A user by number, who need not have a name. The first of the groups is the main one."""

    uid: int
    gids: tuple[int, ...]

    def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns as this user; an exception of it is raised here."""
        reader, writer = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                os.setgroups(list(self.gids))
                os.setresgid(*self.gids[:1] * 3)
                os.setresuid(self.uid, self.uid, self.uid)
                try:
                    done = (True, work())
                except BaseException as error:
                    done = (False, error)
                with open(writer, "wb") as pipe:
                    pickle.dump(done, pipe)
            finally:
                os._exit(0)
        os.close(writer)
        with open(reader, "rb") as pipe:
            content = pipe.read()
        os.waitpid(pid, 0)
        assert content, "the process ended without a result"
        worked, result = pickle.loads(content)
        if not worked:
            raise result
        return result


@contextmanager
def public_folder() -> Iterator[Path]:
    """A temporary folder that other users reach; pytest's own is closed to them."""
    with tempfile.TemporaryDirectory(prefix="hpcfrugal-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        yield Path(name)
