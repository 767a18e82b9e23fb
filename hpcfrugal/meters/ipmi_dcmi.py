"""Power of a node from its BMC by IPMI DCMI: ``ipmitool dcmi power reading`` or FreeIPMI's ``ipmi-dcmi``.

Both print the answer to the command Get Power Reading (Data Center Manageability Interface Specification 1.5, 6.6.1):
the current power, its extremes and mean over a period, and whether power is measured at all. With measurement off, or
at 0 W, there is no reading.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import timedelta

from hpcfrugal.core.errors import SourceError
from hpcfrugal.core.section import Fault, optional
from hpcfrugal.core.text import plain
from hpcfrugal.meters.base import bmc_power_w
from hpcfrugal.meters.powerlog import LoggedMeter
from hpcfrugal.settings.values import Words, time_span

DCMI_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("ipmi-dcmi", "--get-system-power-statistics"),
    ("ipmitool", "dcmi", "power", "reading"),
)
"""For the node itself; the first that is installed is run. Both need root."""

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"

_FIELD = re.compile(r"^\s*(?P<name>[A-Za-z][A-Za-z ]*?)\s*:\s*(?P<value>.*?)\s*$", re.MULTILINE)
_WATTS = re.compile(r"(?P<watts>[0-9]{1,6}(?:\.[0-9]{1,3})?)\s*Watts?", re.IGNORECASE)
_CURRENT = ("instantaneous power reading", "current power")
_STATE = ("power reading state is", "power measurement")
_ON = ("activated", "active")


def parse_power_w(text: str) -> float:
    """Watts from the output of either program. Raises ``SourceError`` for other output, or without a reading."""
    fields = {match["name"].lower(): match["value"] for match in _FIELD.finditer(text)}
    current = next((fields[name] for name in _CURRENT if name in fields), None)
    state = next((fields[name] for name in _STATE if name in fields), None)
    if current is None or state is None:
        raise SourceError(f"no power reading in the output: {_first_line(text) or '(empty)'}")
    if state.lower() not in _ON:
        raise SourceError(f"power measurement is not active: {state[:60]!r}")
    match = _WATTS.fullmatch(current)
    if match is None:
        raise SourceError(f"invalid power in watts: {current[:60]!r}")
    return bmc_power_w(float(match["watts"]))


class IpmiDcmi(LoggedMeter):
    """DCMI of this node, or of other nodes if ``command`` contains ``{node}``."""

    timeout: timedelta = optional(time_span(0.1, 300, "s"), default=timedelta(seconds=10))
    command: tuple[str, ...] | None = optional(Words)

    def contradictions(self) -> list[Fault]:
        """A command for other nodes, and no nodes."""
        if _names_node(self.command) and self.nodes is None:
            return [Fault(("nodes",), "is missing: nodes whose BMC is asked", 'for example "n[1-100]"')]
        return []

    @property
    def is_local(self) -> bool:
        """See ``LoggedMeter.is_local``."""
        return not _names_node(self.command)

    def power_w(self, node: str) -> float:
        """See ``PowerSource.power_w``."""
        argv, timeout_s = self._argv(node), self.timeout.total_seconds()
        try:
            # The output must not depend on the user's language.
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired:
            raise SourceError(f"{argv[0]} did not end within {timeout_s:g} s") from None
        except OSError as error:
            raise SourceError(f"{argv[0]} cannot be run: {error.strerror}") from None
        out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        if done.returncode != 0:
            output = _first_line(err) or _first_line(out) or "no output"
            raise SourceError(f"{argv[0]} failed with exit code {done.returncode}: {output}")
        return parse_power_w(out)

    def _argv(self, node: str) -> Sequence[str]:
        if self.command is not None:
            return [word.replace("{node}", node) for word in self.command]
        path = os.pathsep.join([os.environ.get("PATH", ""), _SBIN])
        for program, *arguments in DCMI_COMMANDS:
            found = shutil.which(program, path=path)
            if found is not None:
                return [found, *arguments]
        raise SourceError(f"neither {' nor '.join(command[0] for command in DCMI_COMMANDS)} is installed")


def _names_node(command: Sequence[str] | None) -> bool:
    return command is not None and any("{node}" in word for word in command)


def _first_line(text: str) -> str:
    return plain(next((line.strip() for line in text.splitlines() if line.strip()), ""), 200)
