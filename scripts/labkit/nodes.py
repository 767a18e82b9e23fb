"""The nodes' own view of the machine: a mount namespace each, with simulated powercap and libnvidia-ml."""

from __future__ import annotations

import os
import stat
import sysconfig
from pathlib import Path

from . import hardware, paths
from .daemons import Daemon
from .errors import LabError
from .shell import run

POWERCAP = Path("/sys/class/powercap")
RAPL_DAEMON = Daemon("rapl", (str(paths.BUILD / "rapl_daemon"), "run", str(paths.LIVE)))


def compile_simulators() -> None:
    """Build the counter daemon and one libnvidia-ml.so.1 per node from the hardware table."""
    paths.BUILD.mkdir(exist_ok=True)
    (paths.BUILD / "hardware.h").write_text(hardware.c_header(), encoding="utf-8")
    compiler = ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{paths.BUILD}"]
    run([*compiler, "-o", str(paths.BUILD / "rapl_daemon"), str(paths.KIT / "rapl_daemon.c")])
    shared = [*compiler, "-shared", "-fPIC"]
    run([*shared, "-o", str(paths.BUILD / "cgroup2_only.so"), str(paths.KIT / "cgroup2_only.c")])
    for node in hardware.NODES:
        run(
            [
                *shared,
                *("-fvisibility=hidden", "-Wl,-soname,libnvidia-ml.so.1"),
                *(f'-DLAB_NODE="{node}"', f'-DLAB_FAULTS="{paths.fault_file(node)}"'),
                *("-o", str(paths.BUILD / f"libnvidia-ml-{node}.so"), str(paths.KIT / "nvml.c")),
            ]
        )


def ensure_live() -> None:
    """Mount the tmpfs for everything that is live."""
    paths.LIVE.mkdir(exist_ok=True)
    if not is_mounted(paths.LIVE):
        run(["mount", "-n", "-t", "tmpfs", "-o", "mode=0755,size=64M", "hpcfrugal-lab", str(paths.LIVE)])
        run(["mount", "-n", "--make-private", str(paths.LIVE)])


def ensure_node(node: str) -> None:
    """The node's files, and its namespace with the mounts that show them."""
    home = paths.node_dir(node)
    if not (home / "ready").exists():
        _write_powercap(node)
        devices, libraries = home / "dev", home / "lib"
        devices.mkdir(parents=True, exist_ok=True)
        libraries.mkdir(exist_ok=True)
        for index in range(hardware.GPUS):
            # slurmd wants devices; these are /dev/null by other names (character device 1, 3).
            device = devices / f"nvidia{index}"
            device.unlink(missing_ok=True)
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            device.chmod(0o666)
        library = libraries / "libnvidia-ml.so.1"
        library.write_bytes((paths.BUILD / f"libnvidia-ml-{node}.so").read_bytes())
        library.chmod(0o755)
        paths.fault_file(node).touch()
        (home / "ready").touch()
    if not is_mounted(paths.namespace_file(node)):
        _make_namespace(node)


def namespaces() -> list[int]:
    """Inodes of the mount namespaces of all nodes that have one."""
    return [
        os.stat(paths.namespace_file(node)).st_ino for node in hardware.NODES if is_mounted(paths.namespace_file(node))
    ]


def energy_files(node: str) -> list[Path]:
    """The counter files of a node, as the host sees them."""
    base = paths.node_dir(node) / "powercap" / "intel-rapl"
    return [base / d.zone / "energy_uj" for d in hardware.domains_of(node) if d.zone]


def allow(node: str, *, everyone: bool) -> None:
    """Counters readable for everyone (0444), or for root only (0400) as on kernels since CVE-2020-8694."""
    for file in energy_files(node):
        file.chmod(0o444 if everyone else 0o400)


def is_mounted(path: Path) -> bool:
    """Whether something is mounted on exactly this path, in this namespace."""
    with Path("/proc/self/mountinfo").open(encoding="utf-8") as mounts:
        return any(line.split()[4] == str(path) for line in mounts)


def unmount_all() -> None:
    """Take away every mount below the state directory, the innermost first."""
    with Path("/proc/self/mountinfo").open(encoding="utf-8") as mounts:
        found = [line.split()[4] for line in mounts]
    for path in reversed([path for path in found if path.startswith(f"{paths.STATE}/")]):
        run(["umount", "-n", "-l", path])


def _write_powercap(node: str) -> None:
    """A tree as the kernel shows it: zones nest below the control type, the class links to each zone."""
    top = paths.node_dir(node) / "powercap"
    control = top / "intel-rapl"
    control.mkdir(parents=True, exist_ok=True)
    (control / "enabled").write_text("1\n", encoding="utf-8")
    for domain in hardware.domains_of(node):
        if domain.zone is None:
            continue
        zone = control / domain.zone
        zone.mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("name", f"{domain.label}\n"),
            ("enabled", "1\n"),
            ("max_energy_range_uj", f"{domain.range_uj}\n"),
            ("energy_uj", "0\n"),
        ):
            (zone / name).write_text(text, encoding="utf-8")
            (zone / name).chmod(0o444)
        link = top / zone.name
        if not link.is_symlink():
            link.symlink_to(Path("intel-rapl") / domain.zone)


def _make_namespace(node: str) -> None:
    pin = paths.namespace_file(node)
    pin.touch()
    # Linux pins a namespace only in one that has a smaller number than it, and each CPU numbers them for itself: on the
    # CPU where that of a container was made, they go up.
    cpus = [str(cpu) for cpu in sorted(os.sched_getaffinity(0))]
    for cpu in cpus:
        try:
            run(["taskset", "--cpu-list", cpu, "unshare", f"--mount={pin}", "--propagation=private", "true"])
            break
        except LabError:
            if cpu == cpus[-1]:
                raise
    home = paths.node_dir(node)
    library_dir = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}"
    if not POWERCAP.is_dir():
        # sysfs takes no new directories, so show it through an overlay that has one more.
        (home / "class" / "powercap").mkdir(parents=True, exist_ok=True)
        _lay_over(node, home / "class", "/sys/class")
    _inside(node, "mount", "-n", "--bind", f"{home}/powercap", str(POWERCAP))
    # Every program's plain dlopen() finds the library there.
    _lay_over(node, home / "lib", library_dir)


def _lay_over(node: str, folder: Path, target: str) -> None:
    """Show ``folder`` over ``target`` on the node. Without upperdir the overlay is read-only."""
    _inside(node, "mount", "-n", "-t", "overlay", "overlay", "-o", f"lowerdir={folder}:{target}", target)


def _inside(node: str, *argv: str) -> None:
    run(["nsenter", f"--mount={paths.namespace_file(node)}", *argv])
