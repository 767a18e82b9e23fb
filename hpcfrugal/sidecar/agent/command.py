"""Command line of the agent: ``python3 -I -S sidecar.pyz agent --folder DIR --node NAME [...]``.

Options: ``--folder DIR`` (where the files of this node go), ``--node NAME`` (its name in Slurm), ``--interval S`` and
``--record S`` (seconds between samples and between records), ``--publish FILE`` and ``--publish-step S``, ``--gid N``
(group of the files), ``--once`` (sample for one interval and print header and record), ``--cpu-budget PERCENT``,
``--file-limit BYTES`` (of a day), ``--slurm-cpus N`` (the node's CPUs as Slurm counts them), ``--idle-power-uw
cpu=N,dram=N,node=N`` and ``--idle-source TEXT``, ``--sysfs DIR`` and ``--proc DIR``. Exit code 2 for a wrong command
line, 1 for other trouble.
"""

from __future__ import annotations

import os
import sys

from ..energy_split import IDLE_COMPONENTS
from ..job_wait import JobWait
from ..log import log, log_as
from ..node import boot_id
from ..options import BadArguments, duration_ns, file_limit_b, parse_options, percent_of_core
from ..sensor_watch import SensorWatch
from ..sources import SensorContext, fallback_sensors, later_sources, primary_sensors
from ..worker import boottime_ns
from ..writer import Locked
from .agent_loop import AgentConfig, AgentLoop, NodeSampler
from .day_files import DayFiles, make_folder
from .idle_power import IDLE_FILE, NodeIdlePower
from .node_jobs import NodeJobs
from .publisher import Publisher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

_VALUED = (
    "--folder",
    "--node",
    "--interval",
    "--record",
    "--publish",
    "--publish-step",
    "--gid",
    "--cpu-budget",
    "--file-limit",
    "--slurm-cpus",
    "--idle-power-uw",
    "--idle-source",
    "--sysfs",
    "--proc",
)


class AgentArguments:
    """The command line, checked."""

    def __init__(self, argv: Sequence[str]) -> None:
        """Parse ``argv``. Raises BadArguments."""
        values, flags = parse_options(argv, _VALUED, ("--once",), required=("--node",))
        self.once = "--once" in flags
        self.folder = values.get("--folder")
        if self.folder is None and not self.once:
            raise BadArguments("--folder is missing")
        self.publish = values.get("--publish")
        self.publish_step_ns = duration_ns(values, "--publish-step", "10")
        self.gid = _whole(values, "--gid", "the number of a group")
        self.idle_uw = _powers(values.get("--idle-power-uw", ""))
        self.idle_source = values.get("--idle-source", "no source named")
        interval_ns = duration_ns(values, "--interval", "1")
        self.config = AgentConfig(
            values["--node"],
            interval_ns,
            max(interval_ns, duration_ns(values, "--record", "60")),
            values.get("--proc", "/proc"),
            values.get("--sysfs", "/sys"),
            cpu_percent=percent_of_core(values),
            file_limit_b=file_limit_b(values),
            slurm_cpus=_whole(values, "--slurm-cpus", "a number of CPUs"),
        )


def _whole(values: Mapping[str, str], option: str, what: str) -> int | None:
    """A number of up to ten digits; None where the option is not there. Raises BadArguments."""
    text = values.get(option)
    if text is not None and not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise BadArguments(f"{option}: {text!r} is not {what}")
    return None if text is None else int(text)


def _powers(text: str) -> dict[str, int]:
    """Microwatts by component. Raises BadArguments."""
    found: dict[str, int] = {}
    for entry in text.split(",") if text else ():
        component, _, value = entry.partition("=")
        if component not in IDLE_COMPONENTS or not (value.isascii() and value.isdigit() and 0 < len(value) <= 13):
            raise BadArguments(f"--idle-power-uw: {entry!r} is not a component and its microwatts")
        found[component] = int(value)
    return found


def run_agent(argv: Sequence[str]) -> NoReturn:
    """Run and exit; the interpreter's usual exit would wait for a thread that hangs in a driver."""
    log_as("hpcfrugal site agent")
    code = 1
    try:
        os.umask(0o027)
        code = _run(AgentArguments(argv))
    except BadArguments as error:
        log(str(error))
        code = 2
    except Locked:
        log("another agent already samples this node; exiting")
    except Exception as error:
        log(f"{type(error).__name__}: {error}; exiting")
    os._exit(code)


def _run(arguments: AgentArguments) -> int:
    config = arguments.config
    begun_ns = boottime_ns()
    job_wait = JobWait(None, boottime_ns)
    context = SensorContext(config.sysfs, config.proc, {}, boottime_ns, in_slurm=False, exclusive=True, published=None)
    sampler = NodeSampler(
        config,
        primary_sensors(context),
        fallback_sensors(context),
        NodeJobs(config.proc, config.node, job_wait.watch),
        NodeIdlePower(
            arguments.idle_uw,
            arguments.idle_source,
            None if arguments.folder is None else f"{arguments.folder}/{IDLE_FILE}",
        ),
        boottime_ns,
        lambda: job_wait.wait_until(0) is not None,
        SensorWatch(config.sysfs, config.proc, boottime_ns, lambda: later_sources(context)),
    )
    if arguments.once:
        return _once(sampler, job_wait)
    assert arguments.folder is not None
    make_folder(arguments.folder, arguments.gid)
    publisher = None
    if arguments.publish is not None:
        publisher = Publisher(arguments.publish, arguments.publish_step_ns, config.node, boot_id(config.proc), begun_ns)
    files = DayFiles(arguments.folder, arguments.gid, config.file_limit_b)
    AgentLoop(config, sampler, files, publisher, job_wait, boottime_ns).run()
    return 0


def _once(sampler: NodeSampler, job_wait: JobWait) -> int:
    """Print the header, the jobs that ended and a record of one interval; 1 where nothing was read."""
    header = sampler.header()
    job_wait.wait_until(boottime_ns() + sampler.interval_ns)
    ended = sampler.sample()
    print(header, *ended, sampler.record("end"), sep="\n")
    sys.stdout.flush()
    counted = [entry for entry in sampler.selection.entries if entry.channel.counted and entry.meter.energy_uj]
    return 0 if counted else 1
