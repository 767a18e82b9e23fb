"""One simulated machine: called by the `sensors` benchmark as root in a mount and network namespace of its own.

Shows the case's powercap tree at /sys/class/powercap and its GPUs through libnvidia-ml.so.1, keeps the counters
moving, runs the trackers one after the other or a few at a time, and prints what each of them gave.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PEERS = Path(__file__).resolve().parent
SCRIPTS = PEERS.parent.parent
sys.path[:0] = [str(PEERS), str(SCRIPTS)]

from files import Failed  # noqa: E402  (only now can it be found)
from labkit.hardware import Domain, c_header  # noqa: E402
from machines import CASES, NODE, Case, truth_uj  # noqa: E402
from runs import ran  # noqa: E402

KIT = SCRIPTS / "labkit"
POWERCAP = Path("/sys/class/powercap")
OTHER_UID = 12345


class Stage:
    """The machine of one case, in `folder`."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        self.live = folder / "live"
        self.live.mkdir()
        _run("mount", "-n", "-t", "tmpfs", "-o", "mode=0755,size=16M", "bench", str(self.live))
        self.domains = case.domains(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        self.library_dir = folder / "lib"
        self.program_dir = folder / "bin"
        self._compile(folder)
        self._write_program()
        self._write_tree()
        self._mount()
        self._daemon = subprocess.Popen([str(folder / "rapl_daemon"), "run", str(self.live)])
        # Ahead of everything else: a counter that stands still for want of a processor is no error of a tracker.
        os.sched_setscheduler(self._daemon.pid, os.SCHED_FIFO, os.sched_param(1))
        time.sleep(0.1)
        if self._daemon.poll() is not None:
            raise Failed("the simulated counters do not move")

    def close(self) -> None:
        """End the daemon; the mounts go with the namespace."""
        self._daemon.kill()
        self._daemon.wait()

    def truth_j(self, from_ns: int, to_ns: int) -> dict[str, float]:
        """True joules of each component."""
        return {name: used / 1e6 for name, used in truth_uj(self.domains, from_ns, to_ns).items()}

    def _compile(self, folder: Path) -> None:
        fault = self.live / "nvml-fault"
        fault.write_text("" if self.case.gpu_counter else "NOT_SUPPORTED\n", encoding="utf-8")
        (folder / "hardware.h").write_text(c_header(self.domains, self.case.devices()), encoding="utf-8")
        self.library_dir.mkdir()
        compiler = ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{folder}", f"-I{KIT}"]
        _run(*compiler, "-o", str(folder / "rapl_daemon"), str(KIT / "rapl_daemon.c"))
        shared = ("-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-soname,libnvidia-ml.so.1")
        names = (f'-DLAB_NODE="{NODE}"', f'-DLAB_FAULTS="{fault}"')
        more = PEERS / "nvml_more.c"
        _run(*compiler, *shared, *names, "-o", str(self.library_dir / "libnvidia-ml.so.1"), str(more))

    def _write_program(self) -> None:
        """An nvidia-smi that succeeds: codecarbon looks for GPUs only where there is one."""
        self.program_dir.mkdir()
        program = self.program_dir / "nvidia-smi"
        program.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
        program.chmod(0o755)

    def _write_tree(self) -> None:
        """As the kernel shows it: zones nest below the control type, the class links to each zone, and each
        links back to its class, by which codecarbon finds the tree."""
        top = self.live / NODE / "powercap"
        control = top / "intel-rapl"
        for domain in self.domains:
            if domain.zone is not None:
                self._write_zone(top, control / domain.zone, domain)
        (control / "subsystem").symlink_to("..")
        (control / "enabled").write_text("1\n", encoding="utf-8")

    def _write_zone(self, top: Path, zone: Path, domain: Domain) -> None:
        zone.mkdir(parents=True)
        for name, text in (
            ("name", f"{domain.label}\n"),
            ("enabled", "1\n"),
            ("max_energy_range_uj", f"{domain.range_uj}\n"),
            ("energy_uj", "0\n"),
        ):
            (zone / name).write_text(text, encoding="utf-8")
            (zone / name).chmod(0o444)
        if self.case.denied:
            (zone / "energy_uj").chmod(0o400)
            os.chown(zone / "energy_uj", OTHER_UID, OTHER_UID)
        (zone / "subsystem").symlink_to(os.path.relpath(top, zone))
        (top / zone.name).symlink_to(zone.relative_to(top))

    def _mount(self) -> None:
        if not POWERCAP.is_dir():
            # sysfs takes no new directories, so it is shown through an overlay that has one more.
            (self.live / "class" / "powercap").mkdir(parents=True)
            _run(
                "mount", "-n", "-t", "overlay", "overlay", "-o", f"lowerdir={self.live}/class:/sys/class", "/sys/class"
            )
        _run("mount", "-n", "--bind", str(self.live / NODE / "powercap"), str(POWERCAP))


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(argv)}: {done.stderr.strip()}")


def main() -> None:
    """Run the trackers and print one line of JSON."""
    parameters = json.loads(sys.argv[1])
    folder = Path(parameters["folder"])
    stage = Stage(CASES[parameters["case"]], folder)
    starting = threading.Lock()

    def one(wanted: dict[str, Any]) -> dict[str, Any]:
        tool, killed = wanted["tool"], wanted["killed"]
        place = folder / f"{tool.replace(' ', '-')}{'-killed' if killed else ''}"
        place.mkdir()
        try:
            found = ran(tool, place, stage, parameters, starting, killed=killed)
        except Failed as error:
            found = {"failed": str(error)}
        ended = found.get("failed", "done")
        print(f"  {parameters['case']}: {tool}{', killed' if killed else ''}: {ended}", file=sys.stderr, flush=True)
        return {"tool": tool, "killed": killed, **found}

    try:
        with ThreadPoolExecutor(parameters["at_once"]) as pool:
            results = list(pool.map(one, parameters["runs"]))
    finally:
        stage.close()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
