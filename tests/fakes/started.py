"""The program in a process of its own, without the time that an interpreter takes to start and to import it.

A server has imported all of it and forks for each run: what runs has the arguments, environment, directory and files
that it was given, exits as a program does, and leaves nothing behind in the tests or in the next run.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

_LANG = "C.UTF-8"
_MAX_REQUEST = 1 << 17


def takes(env: Mapping[str, str]) -> bool:
    """Whether a run can have this environment: some of it an interpreter reads only when it starts."""
    return env.get("LANG") == _LANG and not any(name.startswith(("PYTHON", "LC_", "LD_")) for name in env)


def start() -> None:
    """Wait until the server can fork, which would otherwise count as time of the first run."""
    _server()


def run(argv: Sequence[str], env: Mapping[str, str], cwd: Path, timeout_s: float) -> tuple[int, bytes, bytes]:
    """Exit code and output of a run that has nothing on its input; it ends when nobody can write to its output."""
    until = time.monotonic() + timeout_s
    request = json.dumps({"argv": list(argv), "env": dict(env), "cwd": str(cwd)}).encode()
    with _pipe() as (out, out_end), _pipe() as (err, err_end):
        told, tell = socket.socketpair()
        with told, tell:
            socket.send_fds(_server(), [request], [out_end, err_end, tell.fileno()])
            for end in (out_end, err_end):
                os.close(end)
            tell.close()
            told.settimeout(timeout_s)
            pid = int(told.recv(32))
            texts = {out: b"", err: b""}
            if not _read_all(texts, until):
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(["hpcfrugal", *argv], timeout_s, texts[out], texts[err])
            code = int(told.recv(32))
    return code, texts[out], texts[err]


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        os.close(read)


def _read_all(texts: dict[int, bytes], until: float) -> bool:
    """Read each file to its end; False where that has not come in time."""
    with selectors.DefaultSelector() as selector:
        for file in texts:
            selector.register(file, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(max(0, until - time.monotonic())):
                if part := os.read(key.fd, 1 << 16):
                    texts[key.fd] += part
                else:
                    selector.unregister(key.fd)
            if time.monotonic() > until:
                return False
    return True


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        # Threads of a numerical library would not be there in what is forked.
        env = {**os.environ, "LANG": _LANG, "OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            env={name: value for name, value in env.items() if not name.startswith("LC_")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        process.communicate()

    atexit.register(end)
    ours.recv(1)
    return ours


def _serve(control: socket.socket) -> None:
    from compiled import compile_all

    import hpcfrugal

    for module in pkgutil.walk_packages(hpcfrugal.__path__, "hpcfrugal."):
        if not module.name.startswith("hpcfrugal.sidecar.") and module.name != "hpcfrugal.__main__":
            importlib.import_module(module.name)
    for name in ("tomllib", "jinja2.ext", "pandas", "httpx", "rich.live"):
        importlib.import_module(name)
    compile_all()
    # What is here stays: to look for garbage in it would copy it into each run.
    gc.freeze()
    control.send(b"!")
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    selector.unregister(key.fd)
                    _tell_end(key.fd, *key.data)
                    continue
                request, files, _, _ = socket.recv_fds(control, _MAX_REQUEST, 3)
                if not request:
                    return
                out, err, tell = files
                pid = os.fork()
                if pid == 0:
                    os.dup2(out, 1)
                    os.dup2(err, 2)
                    for file in (*files, control.fileno(), selector.fileno(), *_ours(selector)):
                        os.close(file)
                    _become(json.loads(request))
                os.write(tell, f"{pid:<32}".encode())
                for file in (out, err):
                    os.close(file)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, tell))


def _ours(selector: selectors.DefaultSelector) -> list[int]:
    """Files that belong to other runs."""
    return [file for key in selector.get_map().values() if key.data is not None for file in (key.fd, key.data[1])]


def _tell_end(pidfd: int, pid: int, tell: int) -> None:
    _, status = os.waitpid(pid, 0)
    try:
        os.write(tell, f"{os.waitstatus_to_exitcode(status):<32}".encode())
    except BrokenPipeError:
        pass  # it took too long, and nobody listens any more
    os.close(tell)
    os.close(pidfd)


def _become(request: dict[str, Any]) -> NoReturn:
    """Be the program until it ends, and end as an interpreter does, less the taking apart of what it had imported."""
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()  # an interpreter that starts reads TZ as well
    os.chdir(request["cwd"])
    sys.argv = ["hpcfrugal", *request["argv"]]

    from hpcfrugal.cli import main

    code: object = 1
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else code is not None)


if __name__ == "__main__":
    from compiled import kept

    with kept(), socket.socket(fileno=int(sys.argv[1])) as sent:
        _serve(sent)
