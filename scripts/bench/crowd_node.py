"""One simulated node for many sidecars: RAPL counters that a daemon moves, and their truth in closed form.

The tree is that of the tests, the daemon and the power curves are those of the lab, so the energy of any
interval is known without reading a counter. Node ``n2`` is taken because one of its packages wraps every 39 s.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
for place in (PROJECT / "scripts", PROJECT / "tests" / "fakes"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from fake_rapl import Zone, build  # noqa: E402
from labkit import hardware, waveform  # noqa: E402

NAME = "n2"
KIT = PROJECT / "scripts" / "labkit"
_SETTLE_S = 0.1


class Node:
    """The node's sysfs below ``folder``, moving inside the ``with`` block. ``folder`` should lie on a tmpfs:
    the counters are written 200 times a second."""

    def __init__(self, folder: Path) -> None:
        self.live = folder / "live"
        self.sysfs = folder / NAME / "sys"
        self._daemon: subprocess.Popen[bytes] | None = None
        zones = [
            Zone(Path(domain.zone).name, domain.label, 0, domain.range_uj)
            for domain in hardware.domains_of(NAME)
            if domain.zone
        ]
        build(self.sysfs, zones)
        (self.live / NAME).mkdir(parents=True)
        (self.live / NAME / "powercap").symlink_to(self.sysfs / "devices/virtual/powercap")
        self._program = _compile(folder)

    def __enter__(self) -> Node:
        self._daemon = subprocess.Popen([self._program, "run", self.live])
        time.sleep(_SETTLE_S)
        return self

    def __exit__(self, *_: object) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()

    @property
    def is_moving(self) -> bool:
        """Whether the daemon is still at work."""
        return self._daemon is not None and self._daemon.poll() is None


def truth_uj(zone: str, from_ns: int, to_ns: int) -> int:
    """True microjoules of the zone ``intel-rapl:N[:M]`` between two moments since boot, in ns."""
    for domain in hardware.domains_of(NAME):
        if domain.zone and Path(domain.zone).name == zone:
            return waveform.domain_energy_uj(domain, to_ns) - waveform.domain_energy_uj(domain, from_ns)
    raise KeyError(zone)


def _compile(folder: Path) -> Path:
    (folder / "hardware.h").write_text(hardware.c_header(hardware.domains_of(NAME)), encoding="utf-8")
    program = folder / "rapl_daemon"
    compiler = ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{folder}", f"-I{KIT}"]
    subprocess.run([*compiler, "-o", str(program), str(KIT / "rapl_daemon.c")], check=True)
    return program
