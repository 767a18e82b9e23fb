"""One run of one tracker on a stage: start it, let it work, stop or kill it, and say what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import tree
from files import COUNTED, Failed, folder_bytes, one_session, spooled, sums
from tools import PEER_TOOLS, PEERS

UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
"""Root has to obey file modes, in every case alike."""

LONGEST_START_S = 60.0
LONGEST_STOP_S = 60.0
SETTLE_S = 3.0
"""What a tracker does late in its start belongs to its start, not to its sampling."""

LEFT_S = 0.3
RECORD_S = 10.0
RUN_ID = "20260101T000000Z-0123456789abcdef"
JOB_ID = "4000000001"


class Machine(Protocol):
    """What a run needs of its stage."""

    library_dir: Path
    program_dir: Path

    @property
    def case(self) -> Any: ...

    def truth_j(self, from_ns: int, to_ns: int) -> dict[str, float]: ...


class Run(ABC):
    """A tracker at work; its standard input is a pipe whose end ends it."""

    def __init__(self, argv: Sequence[str], place: Path, environ: dict[str, str], fds: tuple[int, ...] = ()) -> None:
        self.place = place
        self.said = place.parent / f"{place.name}.log"
        self.spawned_ns = boottime_ns()
        with self.said.open("wb") as log:
            self.process = subprocess.Popen(
                [*UNPRIVILEGED, *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL if not fds else log,
                stderr=log,
                env=environ,
                cwd=place,
                pass_fds=fds,
            )

    @abstractmethod
    def wait_started(self) -> int:
        """Boottime at which it says that it measures."""

    @abstractmethod
    def result(self) -> dict[str, Any]:
        """After its end: energy_j, modelled, from_ns, to_ns (of CLOCK_BOOTTIME), notes."""

    @abstractmethod
    def kept(self, killed_ns: int) -> dict[str, Any]:
        """After kill -9: bytes in its files, the energy in them, and how many seconds before the end they stop."""

    def end_input(self) -> None:
        """Ask it to stop."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def reap(self) -> Any:
        """Wait for the end and return what the kernel counted. Raises Failed where it takes too long or fails."""
        until = time.monotonic() + LONGEST_STOP_S
        while time.monotonic() < until:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                return usage
            time.sleep(0.001)
        raise self.failed(f"did not end within {LONGEST_STOP_S:g} s")

    def last_words(self) -> str:
        """The last line that it printed."""
        lines = [line for line in self.said.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "said nothing"

    def warned(self) -> bool:
        """Whether it said anything about permission or reading."""
        return "permission" in self.said.read_text(errors="replace").lower()

    def failed(self, why: str) -> Failed:
        """An error with its last words."""
        return Failed(f"{why}: {self.last_words()}")

    def close(self) -> None:
        """Leave nothing of it behind."""
        if self.process.returncode is None:
            end(reversed(tree.pids(self.process.pid)))
            self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()


class PeerRun(Run):
    """A tracker from PyPI behind its adapter."""

    def __init__(self, tool: str, place: Path, environ: dict[str, str], venvs: Path) -> None:
        self._peer = PEER_TOOLS[tool]
        self._events: dict[str, dict[str, Any]] = {}
        self._pipe, theirs = os.pipe()
        python = venvs / tool / "bin" / "python"
        argv = [str(python), "-B", "-E", "-s", str(PEERS / self._peer.adapter), str(theirs)]
        super().__init__(argv, place, environ, (theirs,))
        os.close(theirs)
        self._text = b""

    def _event(self, name: str, timeout_s: float) -> dict[str, Any]:
        until = time.monotonic() + timeout_s
        while name not in self._events:
            if not select.select([self._pipe], [], [], max(0.0, until - time.monotonic()))[0]:
                raise self.failed(f"no {name!r} within {timeout_s:g} s")
            data = os.read(self._pipe, 65536)
            if not data:
                raise self.failed(f"ended before {name!r}")
            *lines, self._text = (self._text + data).split(b"\n")
            for line in lines:
                event = json.loads(line)
                self._events[event["event"]] = event
        return self._events[name]

    def wait_started(self) -> int:
        return int(self._event("started", LONGEST_START_S)["boottime_ns"])

    def end_input(self) -> None:
        super().end_input()
        self._event("stopped", LONGEST_STOP_S)

    def result(self) -> dict[str, Any]:
        found = self._event("stopped", 0)
        from_ns = self._events["started"]["boottime_ns"]
        to_ns = self._events["stop_called"]["boottime_ns"]
        rule = "between start and stop"
        if found.get("from_wall_s") is not None:
            shift_ns = time.time_ns() - boottime_ns()
            from_ns, to_ns = (round(found[key] * 1e9) - shift_ns for key in ("from_wall_s", "to_wall_s"))
            rule = "its own times"
        elif found.get("duration_s") is not None:
            from_ns = to_ns - round(found["duration_s"] * 1e9)
            rule = "its own duration, up to the call of stop"
        return {
            "energy_j": {name: found["energy_j"].get(name) for name in COUNTED},
            "modelled": found["modelled"],
            "within": found.get("within", {}),
            "from_ns": from_ns,
            "to_ns": to_ns,
            "window": rule,
            "says": found.get("says"),
            "warned": self.warned(),
        }

    def kept(self, killed_ns: int) -> dict[str, Any]:
        return {"bytes": folder_bytes(self.place), "energy_j": self._peer.kept(self.place), "lost_s": None}

    def close(self) -> None:
        os.close(self._pipe)
        super().close()


class SidecarRun(Run):
    """The sidecar by the command line of a batch script; a process that does nothing stands for the job."""

    def __init__(self, place: Path, environ: dict[str, str], venv: Path, zipapp: Path) -> None:
        self._job = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        program = place / "sidecar.pyz"
        shutil.copyfile(zipapp, program)
        self._before_bytes = folder_bytes(place)
        argv = [str(venv / "bin" / "python"), "-I", "-S", str(program), "--run-dir", str(place), "--run-id", RUN_ID]
        argv += ["--interval", "1", "--record", format(RECORD_S, "g"), "--exclusive", "--until-eof"]
        slurm = {"SLURM_JOB_ID": JOB_ID, "SLURM_CLUSTER_NAME": "bench", "SLURMD_NODENAME": "bench"}
        super().__init__([*argv, "--root-pid", str(self._job.pid)], place, environ | slurm)
        self._file = place / f"{JOB_ID}.0.bench.jsonl"

    def wait_started(self) -> int:
        until = time.monotonic() + LONGEST_START_S
        while time.monotonic() < until and self.process.poll() is None:
            if self._file.exists() and b'"kind":"record"' in self._file.read_bytes():
                return boottime_ns()
            time.sleep(0.001)
        raise self.failed("no first record")

    def close(self) -> None:
        super().close()
        self._job.kill()
        self._job.wait()
        assert self._job.stdin is not None
        self._job.stdin.close()

    def result(self) -> dict[str, Any]:
        header, records = one_session(self._file)
        energy_j = sums(header["channels"], records[-1]["energy_uj"])
        return {
            "energy_j": energy_j,
            "modelled": [],
            "from_ns": records[0]["boottime_ns"],
            "to_ns": records[-1]["boottime_ns"],
            "window": "its own times",
            "says": "; ".join(f"{item['component']}: {item['reason']}" for item in header["absent"]) or None,
            "failed_reads": sum(records[-1]["errors"]),
            "channels": [f"{item['component']} {item['domain']} by {item['source']}" for item in header["channels"]],
            "warned": bool(header["absent"]),
        }

    def kept(self, killed_ns: int) -> dict[str, Any]:
        return spooled(self._file, killed_ns) | {"bytes": folder_bytes(self.place) - self._before_bytes}


class CommandRun(Run):
    """`hpcfrugal run` around a command that waits for the end of its input."""

    def __init__(self, place: Path, environ: dict[str, str], venv: Path) -> None:
        self._begun = place / "begun"
        self._json = place / "result.json"
        argv = [str(venv / "bin" / "python"), "-m", "hpcfrugal", "run", "--output", str(self._json), "--"]
        super().__init__([*argv, "sh", "-c", ": >begun; exec cat"], place, environ)

    def wait_started(self) -> int:
        until = time.monotonic() + LONGEST_START_S
        while time.monotonic() < until and self.process.poll() is None:
            if self._begun.exists():
                return boottime_ns()
            time.sleep(0.001)
        raise self.failed("the command did not begin")

    def result(self) -> dict[str, Any]:
        found = json.loads(self._json.read_text(encoding="utf-8"))
        counted = [channel for channel in found["channels"] if channel["counted"]]
        (psys_j,) = [item["energy_j"] for item in found["channels"] if item["domain"] == "psys"] or [None]
        return {
            "energy_j": {name: found["energy_j"].get(name) for name in COUNTED} | {"psys": psys_j},
            "modelled": sorted({item["component"] for item in counted if item["quality"] == "modelled"}),
            "from_ns": min(item["first_boottime_ns"] for item in counted),
            "to_ns": max(item["last_boottime_ns"] for item in counted),
            "window": "its own times",
            "says": "; ".join(item["reason"] for item in counted if item["reason"]) or None,
            "warned": any(item["reason"] for item in counted),
        }

    def kept(self, killed_ns: int) -> dict[str, Any]:
        # Its sidecar sees that the command's parent is gone and writes a last record.
        time.sleep(2.0)
        (file,) = self.place.rglob("*.jsonl")
        return spooled(file, killed_ns)


def ran(
    tool: str, place: Path, stage: Machine, parameters: dict[str, Any], starting: threading.Lock, *, killed: bool
) -> dict[str, Any]:
    """Run `tool` in `place`. One tracker starts at a time, so that none slows another's start. Raises Failed."""
    seconds = parameters["killed_after_s" if killed else "seconds"]
    run: Run | None = None
    try:
        with starting:
            run = _start(tool, place, stage, parameters)
            started_ns = run.wait_started()
            time.sleep(min(SETTLE_S, seconds / 3))
        return _worked(run, stage, started_ns, seconds, killed=killed)
    finally:
        if run is not None:
            run.close()


def _worked(run: Run, stage: Machine, started_ns: int, seconds: float, *, killed: bool) -> dict[str, Any]:
    """Let it work until `seconds` after its start, then stop or kill it."""
    measured_from_s, cpu_before_s = time.monotonic(), tree.cpu_s(run.process.pid)
    time.sleep(max(0.0, seconds - (boottime_ns() - started_ns) / 1e9))
    sampled_s, cpu_s = time.monotonic() - measured_from_s, tree.cpu_s(run.process.pid) - cpu_before_s
    peaks = tree.peak_rss_kib(run.process.pid)
    if run.process.poll() is not None:
        raise run.failed(f"ended by itself with {run.process.returncode}")
    if killed:
        return _kill(run)
    stop_ns = boottime_ns()
    run.end_input()
    usage = run.reap()
    gone_ns = boottime_ns()
    if run.process.returncode:
        raise run.failed(f"exit code {run.process.returncode}")
    result = run.result()
    return {
        **result,
        "truth_j": stage.truth_j(result["from_ns"], result["to_ns"]),
        "start_s": (started_ns - run.spawned_ns) / 1e9,
        "stop_s": (gone_ns - stop_ns) / 1e9,
        "cpu_s_per_60s": cpu_s / sampled_s * 60,
        "cpu_life_s": usage.ru_utime + usage.ru_stime,
        "sampled_s": sampled_s,
        "peak_rss_kib": sum(peaks),
        "processes": len(peaks),
        "peak_rss_largest_kib": peaks[0],
    }


def _start(tool: str, place: Path, stage: Machine, parameters: dict[str, Any]) -> Run:
    environ = {
        "PATH": f"{stage.program_dir}:/usr/bin:/bin",
        "HOME": str(place),
        "LANG": "C.UTF-8",
        "LD_LIBRARY_PATH": str(stage.library_dir),
        "CUDA_VISIBLE_DEVICES": ",".join(str(index) for index in range(stage.case.gpus)),
    }
    venv = Path(parameters["venv"])
    if tool == "hpcfrugal":
        return SidecarRun(place, environ, venv, Path(parameters["zipapp"]))
    if tool == "hpcfrugal run":
        return CommandRun(place, environ, venv)
    return PeerRun(tool, place, environ, Path(parameters["venvs"]))


def _kill(run: Run) -> dict[str, Any]:
    family = tree.pids(run.process.pid)
    killed_ns = boottime_ns()
    run.process.kill()
    run.process.wait()
    # The command inside `hpcfrugal run` is not the tracker: it ends with its input.
    assert run.process.stdin is not None
    run.process.stdin.close()
    kept = run.kept(killed_ns)
    time.sleep(LEFT_S)
    left = [pid for pid in family[1:] if Path(f"/proc/{pid}").exists() and not _is_zombie(pid)]
    end(left)
    return {"kept": kept, "left_behind": len(left)}


def end(pids: Iterable[int]) -> None:
    """Kill those that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def boottime_ns() -> int:
    """CLOCK_BOOTTIME."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
