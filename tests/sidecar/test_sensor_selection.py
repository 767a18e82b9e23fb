"""Which source is taken, what is said about the others, and that no joule is counted twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from fake_meters import FakeCray, amd_gpu, chip, grace, write
from fake_rapl import two_sockets

from hpcfrugal.sidecar.counter import PowerIntegral
from hpcfrugal.sidecar.sensor_in_use import Fallback
from hpcfrugal.sidecar.sensor_selection import SensorSelection
from hpcfrugal.sidecar.sensors.base import Absent, Channel, Opened
from hpcfrugal.sidecar.sources import SensorContext, fallback_sensors, primary_sensors

FAILED_READS = 10

WATTS = {"energy": 900, "cpu_energy": 200, "memory_energy": 50, "accel0_energy": 100, "accel1_energy": 100}


def climb(sysfs: Path, environ: dict[str, str] | None = None, exclusive: bool = False) -> SensorSelection:
    environ = {"SLURM_JOB_ID": "17"} if environ is None else environ
    place = SensorContext(
        str(sysfs), str(sysfs), environ, lambda: 0, in_slurm="SLURM_JOB_ID" in environ, exclusive=exclusive
    )
    return SensorSelection(primary_sensors(place), fallback_sensors(place), lambda: 0, lambda: False)


def counted(selection: SensorSelection) -> list[str]:
    channels = [entry.channel for entry in selection.entries]
    return [f"{channel.component} {channel.source} {channel.domain}" for channel in channels if channel.counted]


def names_of(selection: SensorSelection) -> list[str]:
    return [f"{one.channel.component} {one.channel.source} {one.channel.domain}" for one in selection.entries]


RAPL = [
    f"{component} rapl-powercap package-{number}{part}"
    for number in (0, 1)
    for component, part in (("cpu", ""), ("dram", "/dram"))
]


def test_powercap_leaves_only_the_node_to_others(tmp_path: Path) -> None:
    two_sockets(tmp_path)
    FakeCray(tmp_path, WATTS)
    chip(tmp_path, 0, "power_meter", {"power1_average": "350000000"})
    selection = climb(tmp_path)
    assert counted(selection) == [*RAPL, "node pm-counters node"]
    assert len(selection.entries) == 8  # core zones and psys beside them
    assert selection.absent == []


@pytest.mark.parametrize("kind", ["0x74a0", "0x74a1"])
def test_processor_and_memory_of_an_mi300a_are_in_its_own_power(tmp_path: Path, kind: str) -> None:
    """Those of a node with MI300X are not."""
    two_sockets(tmp_path)
    amd_gpu(tmp_path, 0, 0x01, 550, kind=kind)
    selection = climb(tmp_path, {})
    of_gpu = ["gpu hwmon amd-gpu-0"]
    assert counted(selection) == (of_gpu if kind == "0x74a0" else [*RAPL, *of_gpu])
    # they are read all the same, and nothing else is looked for in their place
    assert set(RAPL) <= set(names_of(selection))
    assert selection.absent == []


def mi300a(sysfs: Path, *, numa: bool = True) -> None:
    """Two MI300A, each of one piece with a processor, with the second one's GPU before the first one's."""
    two_sockets(sysfs)
    for number, package in enumerate((1, 0)):
        hwmon = amd_gpu(sysfs, number, 1 + number, 550, kind="0x74a0", unique=f"{number:x}")
        write(hwmon / "device/numa_node", str(package) if numa else "-1")
        write(sysfs / f"devices/system/node/node{package}/cpulist", f"{8 * package}-{8 * package + 7}")
        for cpu in range(8 * package, 8 * package + 8):
            write(sysfs / f"devices/system/cpu/cpu{cpu}/topology/physical_package_id", str(package))


@pytest.mark.parametrize(
    ("gpus", "exclusive", "numa", "wanted"),
    [
        (None, False, True, []),
        ("0", False, True, ["gpu hwmon amd-gpu-0"]),
        ("0,1", False, True, ["gpu hwmon amd-gpu-0", "gpu hwmon amd-gpu-1"]),
        # no other job is there: the processors whose GPUs it does not hold are its own
        (None, True, True, RAPL),
        ("0", True, True, [*RAPL[:2], "gpu hwmon amd-gpu-0"]),
        ("1", True, True, [*RAPL[2:], "gpu hwmon amd-gpu-1"]),
        ("0", True, False, ["gpu hwmon amd-gpu-0"]),
        ("0,1", True, False, ["gpu hwmon amd-gpu-0", "gpu hwmon amd-gpu-1"]),
    ],
)
def test_each_socket_of_mi300a_is_counted_by_one_job(
    tmp_path: Path, gpus: str | None, exclusive: bool, numa: bool, wanted: list[str]
) -> None:
    mi300a(tmp_path, numa=numa)
    environ = {"SLURM_JOB_ID": "17"} | ({} if gpus is None else {"SLURM_JOB_GPUS": gpus, "ROCR_VISIBLE_DEVICES": gpus})
    selection = climb(tmp_path, environ, exclusive)
    assert counted(selection) == wanted
    assert set(RAPL) <= set(names_of(selection))
    is_unclear = (gpus is None and not exclusive) or (gpus == "0" and exclusive and not numa)
    assert selection.header().get("in_other_gpus") == (["cpu", "dram"] if is_unclear else None)


def test_the_processor_of_an_mi300a_without_power_is_read_beside_the_others(tmp_path: Path) -> None:
    mi300a(tmp_path)
    (power,) = tmp_path.glob("devices/pci0000:00/0000:01:00.0/hwmon/hwmon0/power1_average")
    power.rename(power.with_name("power1_cap"))
    assert counted(climb(tmp_path, {})) == [*RAPL[2:], "gpu hwmon amd-gpu-1"]


def test_cray_where_rapl_is_missing(tmp_path: Path) -> None:
    FakeCray(tmp_path, WATTS)
    selection = climb(tmp_path, exclusive=True)
    assert counted(selection) == [
        "cpu pm-counters cpu",
        "dram pm-counters memory",
        "gpu pm-counters accel0",
        "gpu pm-counters accel1",
        "node pm-counters node",
    ]
    assert {(entry.component, entry.source) for entry in selection.absent} == {
        (component, source) for component in ("cpu", "dram") for source in ("rapl-powercap", "rapl-perf")
    }


def test_whole_source_replaces_a_part_of_a_component(tmp_path: Path) -> None:
    """One package of two cannot be read: the counter of all packages counts, and the other package no more."""
    tree = two_sockets(tmp_path)
    (tree.zone("package-1").path / "energy_uj").write_text("?")
    FakeCray(tmp_path, WATTS)
    selection = climb(tmp_path)
    assert [name for name in counted(selection) if name.startswith("cpu")] == ["cpu pm-counters cpu"]
    reasons = [entry.reason for entry in selection.absent if entry.source == "rapl-powercap"]
    assert len(reasons) == 1
    assert reasons[0].startswith("not a counter: ")


def test_a_part_is_filled_by_a_source_of_the_same_domains(tmp_path: Path) -> None:
    tree = two_sockets(tmp_path)
    (tree.zone("package-1").path / "energy_uj").write_text("?")
    files = {f"energy{n}_label": f"Esocket{n - 1}" for n in (1, 2)} | {f"energy{n}_input": "5" for n in (1, 2)}
    chip(tmp_path, 0, "amd_energy", files)
    names = [name for name in counted(climb(tmp_path)) if name.startswith("cpu")]
    assert names == ["cpu rapl-powercap package-0", "cpu hwmon package-1"]


def test_grace_node(tmp_path: Path) -> None:
    for number, what in enumerate(("Module", "Grace", "CPU", "SysIO")):
        grace(tmp_path, number, what, 0, 100)
    assert counted(climb(tmp_path)) == [
        "cpu hwmon package-0",
        "cpu hwmon sysio-0",
        "dram hwmon package-0/dram",
        "node hwmon module-0",
    ]


@pytest.mark.parametrize("environ", [{"SLURM_JOB_ID": "17"}, {"SLURM_JOB_ID": "17", "SLURM_JOB_GPUS": "0"}])
def test_accelerators_of_a_shared_node(tmp_path: Path, environ: dict[str, str]) -> None:
    FakeCray(tmp_path, WATTS)
    selection = climb(tmp_path, environ)
    assert [name for name in counted(selection) if name.startswith("gpu")] == []
    said = [entry.reason for entry in selection.absent if entry.source == "pm-counters"]
    assert said == ["unknown which of the node's accelerators belong to the job"] * (len(environ) - 1)


def test_amd_gpus_come_before_cray_s_accelerators(tmp_path: Path) -> None:
    FakeCray(tmp_path, WATTS)
    amd_gpu(tmp_path, 0, 0xC1, 100)
    assert "gpu hwmon amd-gpu-0" in counted(climb(tmp_path, {}))
    assert "gpu pm-counters accel0" not in counted(climb(tmp_path, {}))


def test_gpus_of_two_vendors_are_read_side_by_side(tmp_path: Path) -> None:
    """On a workstation; of a job of Slurm the list has one numbering, in which those of NVML come first."""
    amd_gpu(tmp_path, 0, 0xC1, 100)
    chip(tmp_path, 1, "xe", {"energy1_input": "5000000"}, device="pci0000:00/0000:4d:00.0")
    for environ, others in (({}, ["amd-gpu-0", "intel-gpu-0"]), ({"SLURM_JOB_ID": "17", "SLURM_JOB_GPUS": "0"}, [])):
        context = SensorContext(str(tmp_path), str(tmp_path), environ, lambda: 0, in_slurm=bool(environ))
        nvidia = Fake("nvml-energy", "gpu", ["gpu-0"], [1])
        selection = SensorSelection([nvidia], fallback_sensors(context), lambda: 0, lambda: False)
        assert [entry.channel.domain for entry in selection.entries] == ["gpu-0", *others]
        assert [gpu.domain for gpu in selection.gpus] == others
        assert selection.gpus_unread == 0


class Fake:
    """A sensor of counted channels of one component whose values a test sets; a None is a failed read."""

    may_block = False

    def __init__(self, name: str, component: str, domains: list[str], values: list[int | None]) -> None:
        self.name = name
        self.component = component
        self.domains = domains
        self.values = values
        self.frozen_ns: int | None = None

    def open(self) -> Opened:
        channels = [
            Channel(self.component, domain, self.name, max_w=100, detail="d", frozen_ns=self.frozen_ns)
            for domain in self.domains
        ]
        return Opened(channels, [] if channels else [Absent(self.component, self.name, "nothing")], [])

    def read(self) -> list[int | None]:
        return list(self.values)

    def close(self) -> None:
        pass


def test_source_that_fails_is_replaced_once() -> None:
    now_ns = [0]
    good = Fake("good", "cpu", ["a", "b"], [1, 1])
    spare = Fake("spare", "cpu", ["a", "b"], [1, 1])
    made: list[frozenset[str]] = []

    def make(_component: str, have: frozenset[str]) -> Fake:
        made.append(have)
        return spare

    selection = SensorSelection([good], [Fallback("cpu", make, merges=True)], lambda: now_ns[0], lambda: False)
    assert made == []

    def sample() -> list[str]:
        now_ns[0] += 10**9
        good.values[0] = now_ns[0] // 10**9
        selection.sample(0)
        return [entry.channel.domain for entry in selection.replaceable()]

    good.values = [1, None]
    assert [sample() for _ in range(FAILED_READS)] == [[]] * (FAILED_READS - 1) + [["b"]]
    assert selection.replace(selection.replaceable())
    assert made == [frozenset({"a"})]
    assert counted(selection) == ["cpu good a", "cpu spare b"]
    assert [entry.reason for entry in selection.absent] == [f"read error {FAILED_READS} times: d"]
    good.values = [1, 50]
    assert sample() == []
    assert counted(selection) == ["cpu good a", "cpu spare b"]


def test_counter_that_stands_still_is_replaced_at_once() -> None:
    """RAPL that does not count, beside a power meter: 3 s are lost, not 15."""
    now_ns = [0]
    standing = Fake("rapl", "cpu", ["a"], [16])
    standing.frozen_ns = 2_500_000_000
    meter = Fallback("cpu", lambda _component, _have: Fake("hwmon", "cpu", ["a"], [1]), merges=True)
    selection = SensorSelection([standing], [meter], lambda: now_ns[0], lambda: False)
    lost = 0
    while not selection.replaceable():
        selection.sample(0)
        now_ns[0] += 10**9
        lost += 1
    assert lost == 4  # readings at 0, 1, 2 and 3 s
    assert selection.replace(selection.replaceable())
    assert counted(selection) == ["cpu hwmon a"]
    assert [entry.reason for entry in selection.absent] == ["stands still: d"]


def test_source_that_fails_stays_where_there_is_no_other() -> None:
    good = Fake("good", "cpu", ["a"], [None])
    selection = SensorSelection([good], [Fallback("cpu", lambda _component, _covered: None)], lambda: 0, lambda: False)
    for _ in range(FAILED_READS):
        selection.sample(0)
    assert not selection.replace(selection.replaceable())
    assert counted(selection) == ["cpu good a"]
    assert selection.absent == []
    assert selection.replaceable() == []


def test_one_source_in_the_place_of_many() -> None:
    """Fewer channels than before are a change all the same."""
    good = Fake("good", "cpu", ["a", "b", "c"], [1, 1, None])
    selection = SensorSelection(
        [good],
        [Fallback("cpu", lambda _component, _covered: Fake("whole", "cpu", ["cpu"], [1]))],
        lambda: 0,
        lambda: False,
    )
    for _ in range(FAILED_READS):
        selection.sample(0)
    assert selection.replace(selection.replaceable())
    assert counted(selection) == ["cpu whole cpu"]


def test_site_sensor_does_not_count_twice() -> None:
    class Site(Fake):
        defers_to_builtin = True

    sensors = [Fake("good", "cpu", ["a"], [1]), Site("site", "cpu", ["x"], [1]), Site("site", "node", ["y"], [1])]
    never: Callable[[frozenset[str]], None] = lambda _component, _covered: pytest.fail("not needed")  # noqa: E731
    selection = SensorSelection(sensors, [Fallback("node", never)], lambda: 0, lambda: False)
    assert counted(selection) == ["cpu good a", "node site y"]
    assert [entry.channel.counted for entry in selection.entries] == [True, False, True]


def said_missing(selection: SensorSelection) -> dict[str, str]:
    """Domains that the header names as missing, with the source that would have had them."""
    return {
        str(said["domain"]): str(said["source"]) for said in map(Absent.header, selection.absent) if "domain" in said
    }


def test_a_domain_without_a_source_is_missing_beside_others(tmp_path: Path) -> None:
    """One package of two cannot be read. What a whole source or another of its kind speaks for is not missing."""
    package = two_sockets(tmp_path / "a")
    (package.zone("package-1").path / "energy_uj").write_text("?")
    assert said_missing(climb(package.sysfs)) == {"package-1": "rapl-powercap"}
    memory = two_sockets(tmp_path / "b")
    (next(zone for zone in reversed(memory.zones) if zone.name == "dram").path / "energy_uj").write_text("?")
    assert said_missing(climb(memory.sysfs)) == {"package-1/dram": "rapl-powercap"}
    FakeCray(package.sysfs, WATTS)
    assert said_missing(climb(package.sysfs)) == {}


def test_domain_that_another_source_fills_is_not_missing(tmp_path: Path) -> None:
    tree = two_sockets(tmp_path)
    (tree.zone("package-1").path / "energy_uj").write_text("?")
    files = {f"energy{n}_label": f"Esocket{n - 1}" for n in (1, 2)} | {f"energy{n}_input": "5" for n in (1, 2)}
    chip(tmp_path, 0, "amd_energy", files)
    assert said_missing(climb(tmp_path)) == {}


def test_component_of_which_nothing_is_read_has_no_missing_parts(tmp_path: Path) -> None:
    """The model speaks for the whole of it."""
    tree = two_sockets(tmp_path)
    for name in ("package-0", "package-1"):
        (tree.zone(name).path / "energy_uj").write_text("?")
    selection = climb(tmp_path)
    assert [entry.reason[:13] for entry in selection.absent if entry.source == "rapl-powercap"] == ["not a counter"] * 2
    assert said_missing(selection) == {}


class Hanging(Fake):
    """A sensor whose reads hang until ``go``; ``asked`` once one has begun."""

    may_block = True

    def __init__(self) -> None:
        super().__init__("slow", "gpu", ["gpu-0"], [1])
        self.asked = Event()
        self.go = Event()

    def read(self) -> list[int | None]:
        self.asked.set()
        assert self.go.wait(10)
        return super().read()


def test_reading_that_hung_moves_no_other_line(tmp_path: Path) -> None:
    """It belongs to the middle of its call, and the lines of the others to the moment in which they were read."""
    now_ns = [0]
    slow = Hanging()
    selection = SensorSelection([Fake("good", "cpu", ["a"], [1]), slow], [], lambda: now_ns[0], lambda: False)
    assert [entry.channel.source for entry in selection.entries] == ["good", "slow"]
    meter = selection.entries[1].meter
    assert selection.sample(0) == 0
    assert not meter.is_reading
    assert slow.asked.wait(10)
    now_ns[0] = 58 * 10**9
    slow.go.set()
    deadline = time.monotonic() + 10
    while not meter.is_reading and time.monotonic() < deadline:
        assert selection.sample(0) == 58 * 10**9
        time.sleep(0.01)
    assert meter.at_ns == 29 * 10**9


def test_pace_widens_what_is_bridged_of_power(tmp_path: Path) -> None:
    amd_gpu(tmp_path, 0, 0xC1, 100)
    place = SensorContext(str(tmp_path), str(tmp_path), {}, lambda: 0, in_slurm=False)
    selection = SensorSelection(primary_sensors(place), fallback_sensors(place), lambda: 0, lambda: False, 60 * 10**9)

    def gaps_ns() -> list[int]:
        return [entry.meter.gap_ns for entry in selection.entries if isinstance(entry.meter, PowerIntegral)]

    assert gaps_ns() == [150 * 10**9]
    assert selection.slower(10**9) == 2 * 10**9
    assert gaps_ns() == [10 * 10**9]
