"""Command line of the sidecar: ``python3 -I -S sidecar.pyz --run-dir DIR --run-id ID [...]``.

Options: ``--interval S`` and ``--record S`` (seconds between samples and between records), ``--exclusive``
(the job has the node to itself), ``--root-pid PID`` (the process whose end is the job's end), ``--until-eof``
(the job ends when standard input does, and not by a signal), ``--cpu-budget PERCENT`` (of one core; above it the
sampling slows down), ``--file-limit BYTES`` (towards which records come less often), ``--hardware-counters``
(count instructions and cache misses of the root process and all that it starts), ``--sysfs DIR`` and
``--proc DIR`` (other roots of these trees), ``--published FILE`` (where the node agent publishes). Exit code 0 also on
trouble, so that a sidecar can never make a job step fail; 2 for a wrong command line.
"""

from __future__ import annotations

import os
import stat
import sys

from .gpu_busy import GpuBusy
from .identity import identify
from .job_wait import JobWait
from .log import log
from .loop import Loop, SamplingConfig
from .options import BadArguments, duration_ns, file_limit_b, parse_options, percent_of_core
from .sensor_watch import SensorWatch
from .sensors.base import PUBLISHED
from .sources import SensorContext, fallback_sensors, later_sources, primary_sensors
from .usage import Usage
from .worker import boottime_ns
from .writer import Locked, Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

_VALUED = (
    "--run-dir",
    "--run-id",
    "--interval",
    "--record",
    "--root-pid",
    "--sysfs",
    "--proc",
    "--cpu-budget",
    "--file-limit",
    "--published",
)
_FLAGS = ("--exclusive", "--until-eof", "--hardware-counters")


class Arguments:
    """The command line, checked."""

    def __init__(self, argv: list[str]) -> None:
        """Parse ``argv`` (without the program). Raises BadArguments."""
        values, flags = parse_options(argv, _VALUED, _FLAGS, required=("--run-dir", "--run-id"))
        self.exclusive = "--exclusive" in flags
        self.until_eof = "--until-eof" in flags
        self.hardware_counters = "--hardware-counters" in flags
        self.run_dir = os.path.abspath(values["--run-dir"])
        self.run_id = values["--run-id"]
        self.sysfs = values.get("--sysfs", "/sys")
        self.proc = values.get("--proc", "/proc")
        self.interval_ns = duration_ns(values, "--interval", "1")
        self.record_ns = max(self.interval_ns, duration_ns(values, "--record", "10"))
        self.cpu_percent = percent_of_core(values)
        self.file_limit_b = file_limit_b(values)
        self.published = values.get("--published", PUBLISHED)
        pid = values.get("--root-pid")
        if pid is not None and not (pid.isascii() and pid.isdigit() and 0 < int(pid) < 1 << 31):
            raise BadArguments(f"--root-pid: {pid!r} is not a process id")
        self.root_pid = None if pid is None else int(pid)


def sample(arguments: Arguments, environ: Mapping[str, str]) -> None:
    """Sample until the job ends.

    Raises ValueError for an unusable identity and Locked where another sidecar samples this job.
    """
    identity = identify(arguments.run_id, environ, os.uname().nodename)
    job_wait = JobWait(arguments.root_pid, boottime_ns, 0 if arguments.until_eof else None)
    sluid = environ.get("SLURM_JOB_SLUID")
    counters = None
    if arguments.hardware_counters:
        from .hardware_counters import HardwareCounters

        counters = HardwareCounters(arguments.proc, arguments.root_pid)
    busy = GpuBusy(boottime_ns)
    usage = Usage(arguments.proc, identity, sluid, arguments.root_pid, gpu_busy=busy, counters=counters)
    context = SensorContext(
        arguments.sysfs,
        arguments.proc,
        environ,
        boottime_ns,
        in_slurm=identity.in_slurm,
        exclusive=arguments.exclusive,
        gpu_busy=busy,
        published=arguments.published,
    )
    writer = Writer(os.path.join(arguments.run_dir, identity.file_name), 0o640)
    config = SamplingConfig(
        arguments.interval_ns,
        arguments.record_ns,
        arguments.exclusive,
        arguments.proc,
        sysfs=arguments.sysfs,
        cpu_percent=arguments.cpu_percent,
        file_limit_b=arguments.file_limit_b,
    )
    Loop(
        config,
        identity,
        primary_sensors(context),
        usage,
        writer,
        job_wait,
        boottime_ns,
        fallback_sensors(context),
        on_begun=_lower_priority,
        watch=SensorWatch(
            arguments.sysfs, arguments.proc, boottime_ns, lambda: later_sources(context), context.published
        ),
    ).run()


def _lower_priority() -> None:
    """Run with the lowest CPU priority (nice 19), in each thread, since niceness is per thread.

    Not before the first record is written: on a busy node it would come late, and the first joules with it.
    """
    try:
        for thread in os.listdir("/proc/self/task"):
            os.setpriority(os.PRIO_PROCESS, int(thread), 19)
    except OSError as error:
        # no procfs, or a thread that has ended meanwhile
        log(f"cannot lower the CPU priority: {error.strerror}", once="nice")


def _umask_in(run_dir: str) -> int:
    """The group may read new files in a run directory that was made for one, which has the set-group-ID bit."""
    try:
        return 0o027 if os.stat(run_dir).st_mode & stat.S_ISGID else 0o077
    except OSError:
        return 0o077


def run_sidecar() -> NoReturn:
    """Run and exit; the interpreter's usual exit would wait for a thread that hangs in a driver."""
    if sys.argv[1:2] == ["agent"]:
        from .agent.command import run_agent

        run_agent(sys.argv[2:])
    code = 0
    try:
        arguments = Arguments(sys.argv[1:])
        os.umask(_umask_in(arguments.run_dir))
        os.chdir("/")
        sample(arguments, os.environ)
    except BadArguments as error:
        log(str(error))
        code = 2
    except Locked:
        log("another sidecar already samples this job on this node; exiting")
    except Exception as error:
        # no traceback in the job's output; the job continues without the sidecar
        log(f"{type(error).__name__}: {error}; exiting")
    os._exit(code)


if __name__ == "__main__":
    run_sidecar()
