"""Sensors that are there and that nothing here reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_meters import FakeCray, amd_gpu, chip, grace, write
from fake_rapl import two_sockets

from hpcfrugal.sidecar.sensor_selection import SensorSelection
from hpcfrugal.sidecar.sensors.base import Channel, Opened
from hpcfrugal.sidecar.sources import SensorContext, fallback_sensors, primary_sensors


def accelerator(sysfs: Path, number: int, name: str, files: dict[str, str], pci_class: str = "0x120000") -> Path:
    hwmon = chip(sysfs, number, name, files, device=f"pci0000:00/0000:{number:02x}:00.0")
    write(hwmon / "device/class", pci_class)
    return hwmon


def select(sysfs: Path, environ: dict[str, str] | None = None, *, exclusive: bool = False) -> SensorSelection:
    environ = {"CUDA_VISIBLE_DEVICES": ""} if environ is None else environ
    in_slurm = "SLURM_JOB_ID" in environ
    place = SensorContext(str(sysfs), str(sysfs), environ, lambda: 0, in_slurm=in_slurm, exclusive=exclusive)
    return SensorSelection(primary_sensors(place), fallback_sensors(place), lambda: 0, lambda: False)


def named(selection: SensorSelection) -> list[tuple[str, str]]:
    return [(entry.component, entry.reason) for entry in selection.absent if "present" in entry.reason]


def test_unknown_chips_with_power_are_named(tmp_path: Path) -> None:
    two_sockets(tmp_path)
    files = {f"power{number}_input": "5" for number in range(1, 7)} | {"power1_cap": "9", "energy1_input": "7"}
    chip(tmp_path, 0, "ina3221", files)
    chip(tmp_path, 1, "jc42", {"temp1_input": "40000", "power_state": "D0"})
    chip(tmp_path, 2, "fam15h_power", {"power1_crit": "125000000", "power1_average": "3"})
    chip(tmp_path, 3, "ps", {"power1_average": "1"}, device="virtual/thermal/thermal_zone0")
    selection = select(tmp_path)
    hwmon = tmp_path / "class/hwmon"
    assert named(selection) == [
        (
            "node",
            "present and not read: ina3221 (energy1_input, power1_input, power2_input, power3_input, ...) in "
            f"{hwmon}/hwmon0",
        ),
        ("node", f"present and not read: fam15h_power (power1_average) in {hwmon}/hwmon2"),
    ]
    assert selection.gpus_unread == 0


@pytest.mark.parametrize(
    ("environ", "exclusive", "may_use"),
    [
        ({"CUDA_VISIBLE_DEVICES": ""}, False, True),
        ({"SLURM_JOB_ID": "17"}, False, False),
        ({"SLURM_JOB_ID": "17"}, True, True),
    ],
)
@pytest.mark.parametrize("pci_class", ["0x120000", "0x030200"])
def test_accelerator_that_the_job_may_use_is_promised(
    tmp_path: Path, environ: dict[str, str], exclusive: bool, may_use: bool, pci_class: str
) -> None:
    accelerator(tmp_path, 5, "habanalabs", {"power1_input": "300000000"}, pci_class)
    selection = select(tmp_path, environ, exclusive=exclusive)
    where = f"{tmp_path}/class/hwmon/hwmon5"
    assert named(selection) == [("gpu", f"present and not read: habanalabs (power1_input) in {where}")]
    assert selection.gpus_unread == (1 if may_use else 0)


def card(sysfs: Path, number: int, address: str, driver: str, vendor: str, pci_class: str = "0x030000") -> Path:
    """A PCI device with a DRM node, and no hwmon chip."""
    device = sysfs / f"devices/pci0000:00/{address}"
    write(device / "class", pci_class)
    write(device / "vendor", vendor)
    (device / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")
    kind = "accel" if driver == "habanalabs" else "drm"
    name = f"{'accel' if kind == 'accel' else 'card'}{number}"
    node = device / kind / name
    node.mkdir(parents=True)
    (node / "device").symlink_to("../..")
    folder = sysfs / "class" / kind
    folder.mkdir(parents=True, exist_ok=True)
    for entry in (name, f"{name}-DP-1"):
        (folder / entry).symlink_to(f"../../devices/pci0000:00/{address}/{kind}/{name}")
    return device


NVIDIA, AMD, INTEL = "0x10de", "0x1002", "0x8086"


@pytest.mark.parametrize(
    ("driver", "vendor", "pci_class"),
    [
        ("amdgpu", AMD, "0x120000"),
        ("amdgpu", AMD, "0x030000"),
        ("radeon", AMD, "0x030000"),
        ("xe", INTEL, "0x038000"),
        ("nouveau", NVIDIA, "0x030200"),
        ("habanalabs", "0x1da3", "0x120000"),
    ],
)
@pytest.mark.parametrize("with_hwmon", [True, False])
def test_accelerator_without_a_reading_is_lacking(
    tmp_path: Path, driver: str, vendor: str, pci_class: str, with_hwmon: bool
) -> None:
    """A virtual function shows no power, an old kernel none of Intel's cards; and so without any chip of hwmon."""
    if with_hwmon:
        chip(tmp_path, 0, "acpitz", {"temp1_input": "40000"})
    card(tmp_path, 1, "0000:83:00.0", driver, vendor, pci_class)
    selection = select(tmp_path, {})
    what = f"present and not read: accelerator 0000:83:00.0 of the driver {driver}"
    assert named(selection) == [("gpu", what)]
    assert selection.gpus_unread == 1
    assert select(tmp_path, {"SLURM_JOB_ID": "17"}).gpus_unread == 0


@pytest.mark.parametrize(
    ("address", "driver", "vendor", "pci_class"),
    [
        pytest.param("0000:00:02.0", "i915", INTEL, "0x030000", id="within an Intel processor"),
        pytest.param("0000:00:0b.0", "intel_vpu", INTEL, "0x120000", id="the same, for inference"),
        pytest.param("0000:02:00.0", "ast", "0x1a03", "0x030000", id="management controller"),
        pytest.param("0000:02:00.0", "mgag200", "0x102b", "0x030000", id="another"),
        pytest.param("0000:01:01.0", "virtio-pci", "0x1af4", "0x030000", id="virtual machine"),
        pytest.param("0000:83:00.0", "nvidia", NVIDIA, "0x030200", id="named by NVML"),
    ],
)
def test_what_computes_nothing_or_counts_elsewhere_is_not_named(
    tmp_path: Path, address: str, driver: str, vendor: str, pci_class: str
) -> None:
    card(tmp_path, 0, address, driver, vendor, pci_class)
    selection = select(tmp_path, {})
    assert (named(selection), selection.gpus_unread) == ([], 0)


@pytest.mark.parametrize("power", [{"power1_input": "12000"}, {}])
def test_gpu_within_an_amd_processor_is_not_named(tmp_path: Path, power: dict[str, str]) -> None:
    """Its energy is in that of the processor; some show a power of their own, of a few milliwatts."""
    device = card(tmp_path, 0, "0000:74:00.0", "amdgpu", AMD)
    chip(tmp_path, 0, "amdgpu", {"in1_label": "vddnb", **power}, device="pci0000:00/0000:74:00.0")
    assert (device / "hwmon/hwmon0/in1_label").exists()
    selection = select(tmp_path, {})
    assert (selection.entries, named(selection), selection.gpus_unread) == ([], [], 0)


def test_cards_that_are_read_are_not_named(tmp_path: Path) -> None:
    amd_gpu(tmp_path, 0, 0x83, 100)
    chip(tmp_path, 1, "xe", {"energy1_input": "5000000"}, device="pci0000:00/0000:4d:00.0")
    card(tmp_path, 0, "0000:83:00.0", "amdgpu", AMD)
    card(tmp_path, 1, "0000:4d:00.0", "xe", INTEL, "0x038000")
    selection = select(tmp_path, {})
    assert [entry.channel.domain for entry in selection.entries] == ["amd-gpu-0", "intel-gpu-0"]
    assert (named(selection), selection.gpus_unread) == ([], 0)


@pytest.mark.parametrize(
    ("environ", "unread"),
    [({}, 2), ({"CUDA_VISIBLE_DEVICES": ""}, 0), ({"SLURM_JOB_ID": "17"}, 0)],
)
def test_nvidia_gpus_without_their_library_are_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], unread: int
) -> None:
    monkeypatch.setattr("hpcfrugal.sidecar.sensors.nvml.NVML_LIBRARY", "libnvidia-ml.so.none")
    for address in ("0000:17:00.0", "0000:65:00.0"):
        write(tmp_path / f"driver/nvidia/gpus/{address}/information", "Model: NVIDIA H100")
    selection = select(tmp_path, environ)
    reasons = [(entry.component, entry.reason) for entry in selection.absent if entry.source == "nvml-energy"]
    assert reasons == [("gpu", "no libnvidia-ml.so.none")] * bool(unread)
    assert selection.gpus_unread == unread


def test_a_network_adapter_is_not_an_accelerator(tmp_path: Path) -> None:
    accelerator(tmp_path, 5, "mlx5", {"power1_input": "20000000"}, "0x020000")
    selection = select(tmp_path)
    assert [component for component, _ in named(selection)] == ["node"]
    assert selection.gpus_unread == 0


def test_device_with_a_drm_node_is_an_accelerator(tmp_path: Path) -> None:
    hwmon = chip(tmp_path, 0, "panthor", {"power1_input": "1"})
    (hwmon / "device/drm/card0").mkdir(parents=True)
    assert select(tmp_path).gpus_unread == 1


def test_an_unknown_quantity_of_a_socket_is_named(tmp_path: Path) -> None:
    for number, what in enumerate(("CPU", "SysIO", "HBM")):
        grace(tmp_path, number, what, 1, 100)
    ((component, reason),) = named(select(tmp_path))
    assert component == "node"
    assert reason.startswith("present and not read: HBM of socket 1: ")


def test_no_more_than_16_are_named(tmp_path: Path) -> None:
    for number in range(20):
        chip(tmp_path, number, "pmbus", {"power1_input": "1"})
    assert len(named(select(tmp_path))) == 16


@pytest.mark.parametrize("gpus", [0, 1])
def test_beside_cray_counters_accelerators_are_named_and_lacking_unless_modules_are_read(
    tmp_path: Path, gpus: int
) -> None:
    accelerator(tmp_path, 5, "habanalabs", {"power1_input": "300000000"})
    FakeCray(tmp_path, {"energy": 900, **{f"accel{number}_energy": 300 for number in range(gpus)}})
    selection = select(tmp_path)
    assert [component for component, _ in named(selection)] == ["gpu"]
    assert selection.gpus_unread == 1 - gpus


def test_accelerator_beside_amd_gpus_is_lacking(tmp_path: Path) -> None:
    amd_gpu(tmp_path, 0, 0x83, 100)
    accelerator(tmp_path, 5, "habanalabs", {"power1_input": "300000000"})
    selection = select(tmp_path, {})
    assert [entry.channel.domain for entry in selection.entries] == ["amd-gpu-0"]
    assert selection.gpus_unread == 1


def test_powercap_zone_of_another_kind_is_named(tmp_path: Path) -> None:
    tree = two_sockets(tmp_path)
    for name, files in (("dtpm:0", ("power_uw",)), ("scmi:1", ("energy_uj",)), ("empty:0", ())):
        folder = tree.powercap / name
        folder.mkdir()
        (folder / "name").write_text("soc\n")
        for file in files:
            (folder / file).write_text("5\n")
    selection = select(tmp_path)
    assert sorted(named(selection)) == [
        ("node", f"present and not read: soc (energy_uj) in {tree.powercap}/scmi:1"),
        ("node", f"present and not read: soc (power_uw) in {tree.powercap}/dtpm:0"),
    ]
    assert len(selection.entries) == 7


class Nvidia:
    """NVIDIA's library with one GPU of the job."""

    name, component, may_block = "nvml-energy", "gpu", False

    def open(self) -> Opened:
        return Opened([Channel("gpu", "gpu-0", self.name, max_w=1000, detail="", scope="job")], [], [])

    def read(self) -> list[int | None]:
        return [0]

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("exclusive", "unread"), [(False, 0), (True, 1)])
def test_gpus_of_another_vendor_beside_nvidias_are_named_in_a_job_of_slurm(
    tmp_path: Path, exclusive: bool, unread: int
) -> None:
    hwmon = amd_gpu(tmp_path, 0, 0x43, 200)
    write(hwmon / "device/class", "0x120000")
    write(hwmon / "device/vendor", AMD)

    def selection(**environ: str) -> SensorSelection:
        sysfs, in_slurm = str(tmp_path), "SLURM_JOB_ID" in environ
        place = SensorContext(sysfs, sysfs, environ, lambda: 0, in_slurm=in_slurm, exclusive=exclusive)
        return SensorSelection([Nvidia()], fallback_sensors(place), lambda: 0, lambda: False)

    found = selection(SLURM_JOB_ID="17", SLURM_JOB_GPUS="0")
    assert [entry.channel.domain for entry in found.entries] == ["gpu-0"]
    what = "present and not read: accelerator 0000:43:00.0 of the driver amdgpu, beside NVIDIA's"
    assert (named(found), found.gpus_unread) == ([("gpu", what)], unread)
    # elsewhere all of them are the job's
    found = selection()
    assert [entry.channel.domain for entry in found.entries] == ["gpu-0", "amd-gpu-0"]
    assert (named(found), found.gpus_unread) == ([], 0)
