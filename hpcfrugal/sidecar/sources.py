"""All sources of energy readings, best first: what the sidecar samples and ``doctor`` probes."""

from __future__ import annotations

import os

from .gpu_selection import VARIABLES, job_device_list
from .sensor_in_use import Fallback
from .sensor_process import SensorProcess
from .sensors.base import NVML_ENERGY, NVML_LIBRARY, PUBLISHED, TYPE_CHECKING
from .sensors.rapl_powercap import RaplPowercap
from .shared_library import is_found
from .site_sensors import SENSORS
from .sysfs import list_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .gpu_busy import GpuBusy
    from .sensor_child import UseOfGpus
    from .sensors.base import Sensor
    from .sensors.hwmon import Chips


_UNREAD = "unread"
"""In place of a component: what is named in any case, whatever covers the components."""


_OF_NVML = "gpu-"
"""How the domains of NVIDIA's GPUs begin; those of other drivers are before it."""


class SensorContext:
    """What sensors need to know: roots of sysfs and procfs, the job's environment, whether Slurm runs it, and
    whether it has the node to itself; ``gpu_busy`` receives the utilisation of its GPUs. ``published`` is the file of
    the node agent, None for the agent itself."""

    def __init__(
        self,
        sysfs: str,
        proc: str,
        environ: Mapping[str, str],
        clock_ns: Callable[[], int],
        *,
        in_slurm: bool,
        exclusive: bool = False,
        gpu_busy: GpuBusy | None = None,
        published: str | None = PUBLISHED,
    ) -> None:
        # what an agent publishes in its usual place is of the machine's own /sys
        self.published = None if published == PUBLISHED and sysfs != "/sys" else published
        self.gpu_busy = gpu_busy
        self.sysfs = sysfs
        self.proc = proc
        self.environ = environ
        self.clock_ns = clock_ns
        self.in_slurm = in_slurm
        self.exclusive = exclusive


def primary_sensors(context: SensorContext, site: tuple[tuple[str, str, str], ...] = SENSORS) -> list[Sensor]:
    """The best sources, each of which is opened, and those of the ``site``."""
    sensors: list[Sensor] = [_powercap(context)]
    nvml = _nvml(context)
    if nvml is not None:
        sensors.append(nvml)
    for name, module, factory in site:
        make = _site_sensor(name, module, factory, context.sysfs)
        sensors.append(SensorProcess(f"site-{name}", "site", make, defers_to_builtin=True))
    return sensors


def _powercap(context: SensorContext) -> Sensor:
    # where another tree replaces /sys alone, the processor in /proc is not the one of that tree
    proc = context.proc if context.sysfs == "/sys" or context.proc != "/proc" else None
    return RaplPowercap(context.sysfs, proc)


def _nvml(context: SensorContext) -> Sensor | None:
    """The job's NVIDIA GPUs, None where it has none."""
    wanted = job_device_list(context.environ, context.in_slurm)
    if not wanted.entries and not wanted.all_devices:
        return None
    sharded = _is_part_of_gpu(context)
    present = len(list_folder(f"{context.proc}/driver/nvidia/gpus")) if wanted.all_devices else 0

    def make(use: UseOfGpus) -> Sensor:
        from .sensors.nvml import Nvml

        return Nvml(wanted, sharded=sharded, present=present, busy=use, clock_ns=context.clock_ns)

    def missing() -> str | None:
        if is_found(NVML_LIBRARY, context.environ):
            return None
        # A node without the driver is normal, unless the job requested a GPU.
        return f"no {NVML_LIBRARY}" if wanted.entries or present else ""

    return SensorProcess(NVML_ENERGY, "gpu", make, busy=context.gpu_busy, missing=missing)


def _site_sensor(name: str, module: str, factory: str, sysfs: str) -> Callable[[UseOfGpus], Sensor]:
    def make(_use: UseOfGpus) -> Sensor:
        from .sensors.site import SiteSensor

        return SiteSensor(name, module, factory, sysfs)

    return make


def later_sources(context: SensorContext) -> list[Fallback]:
    """What to try when a driver was loaded or a package brought online after the start, best first."""
    return [
        Fallback("cpu", lambda _component, _covered: _powercap(context), merges=True, adds=True),
        Fallback("gpu", lambda _component, _covered: _nvml(context), merges=True),
        *fallback_sensors(context),
    ]


def fallback_sensors(context: SensorContext) -> list[Fallback]:
    """The sources for components that the primary sensors do not cover, best first; loaded when needed."""
    chips: list[Chips] = []
    # Slurm's list has the same numbers for GPUs of all vendors: there those of NVIDIA's library alone are the job's
    adds_gpus = not context.in_slurm

    def has_hwmon() -> bool:
        return os.path.isdir(f"{context.sysfs}/class/hwmon")

    def all_chips() -> Chips:
        from .sensors.hwmon import Chips

        if not chips:
            chips.append(Chips(context.sysfs))
        return chips[0]

    def perf(component: str, covered: frozenset[str]) -> Sensor | None:
        from .sensors.rapl_perf import RaplPerf

        return RaplPerf(context.sysfs, context.proc, component, covered)

    def pm_counters(component: str, _covered: frozenset[str]) -> Sensor | None:
        if not os.path.isdir(f"{context.sysfs}/cray/pm_counters"):
            return None
        if component == "gpu" and not _may_have_gpus(context):
            return None
        from .sensors.pm_counters import PmCounters

        return PmCounters(context.sysfs, component, context.clock_ns, _not_ours(context))

    def hwmon(component: str, covered: frozenset[str]) -> Sensor | None:
        if not has_hwmon():
            return None
        from .sensors.hwmon_meters import cpu_sensor, dram_sensor, node_sensor

        if component == "cpu":
            return cpu_sensor(all_chips(), covered)
        if component == "dram":
            return dram_sensor(all_chips(), covered)
        return node_sensor(all_chips())

    def amd_gpus(_component: str, _covered: frozenset[str]) -> Sensor | None:
        if not has_hwmon():
            return None
        from .sensors.amdgpu import gpu_sensor

        is_alone = not context.in_slurm or context.exclusive
        return gpu_sensor(all_chips(), context.sysfs, context.environ, in_slurm=context.in_slurm, is_alone=is_alone)

    def intel_gpus(_component: str, _covered: frozenset[str]) -> Sensor | None:
        if not has_hwmon():
            return None
        from .sensors.intel_gpu import intel_gpu_sensor

        return intel_gpu_sensor(all_chips(), context.environ, context.in_slurm, context.exclusive)

    def unread(_component: str, gpus: frozenset[str]) -> Sensor | None:
        if not has_hwmon() and not any(os.path.isdir(f"{context.sysfs}/class/{name}") for name in ("drm", "accel")):
            return None
        from .sensors.unread import UnreadDevices

        return UnreadDevices(
            all_chips(),
            context.sysfs,
            may_use_all=not context.in_slurm or context.exclusive,
            gpus_unread=not adds_gpus and any(domain.startswith(_OF_NVML) for domain in gpus),
        )

    def agent(component: str, _covered: frozenset[str]) -> Sensor | None:
        if context.published is None or not os.path.lexists(context.published):
            return None
        from .sensors.agent_counters import AgentCounters

        return AgentCounters(context.published, context.proc, component, context.clock_ns)

    return [
        Fallback("cpu", perf, merges=True),
        Fallback("cpu", hwmon, merges=True),
        Fallback("cpu", pm_counters),
        Fallback("cpu", agent, merges=True),
        Fallback("dram", perf, merges=True),
        Fallback("dram", hwmon, merges=True),
        Fallback("dram", pm_counters),
        Fallback("dram", agent, merges=True),
        Fallback("gpu", amd_gpus, merges=True, adds=adds_gpus),
        Fallback("gpu", intel_gpus, merges=True, adds=adds_gpus),
        Fallback("gpu", pm_counters),
        Fallback("node", pm_counters),
        Fallback("node", hwmon),
        Fallback("node", agent, merges=True),
        Fallback(_UNREAD, unread, beside="gpu"),
    ]


def _is_part_of_gpu(context: SensorContext) -> bool:
    """Whether Slurm may give the same GPU to other jobs as well: gres/shard and gres/mps.

    For the latter it sets the percentage that is the job's share of the GPU, and unsets it for jobs of other kinds
    (Slurm: src/plugins/gres/mps/gres_mps.c); a share of all of it, and one on a node of the job's own, is alone.
    """
    if "SLURM_SHARDS_ON_NODE" in context.environ:
        return True
    percentage = context.environ.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE")
    return bool(percentage) and context.in_slurm and not context.exclusive and percentage != "100"


def _may_have_gpus(context: SensorContext) -> bool:
    if not context.in_slurm or context.exclusive:
        return True
    return any(context.environ.get(name) for name in VARIABLES)


def _not_ours(context: SensorContext) -> str | None:
    """Why the node's accelerators may not be taken for the job's, None where they are all its own.

    Their numbers are those of modules, of which one may hold two devices of Slurm's count.
    """
    if not context.in_slurm or context.exclusive:
        return None
    try:
        names = os.listdir(f"{context.sysfs}/class/drm")
    except OSError:
        names = []
    devices = sum(name.startswith("renderD") for name in names)
    held = max((len(context.environ.get(name, "").split(",")) for name in VARIABLES), default=0)
    if 0 < devices <= held:
        return None
    return "unknown which of the node's accelerators belong to the job"
