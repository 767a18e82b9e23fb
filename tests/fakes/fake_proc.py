"""A procfs made by hand."""

from __future__ import annotations

import shutil
from pathlib import Path


class FakeProc:
    """A procfs of stat files (proc_pid_stat(5)), with title and environment for slurmstepd and its tasks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "self/ns").mkdir(parents=True)
        (root / "self/ns/mnt").symlink_to("mnt:[1]")

    def put(
        self,
        pid: int,
        parent: int,
        *,
        own: int = 0,
        reaped: int = 0,
        comm: str = "bash",
        start: int = 1,
        title: str = "",
        environ: dict[str, str] | None = None,
        namespace: str | None = None,
        faults: tuple[int, int, int, int] = (0, 0, 0, 0),
        io_b: tuple[int, int] | None = (0, 0),
    ) -> None:
        """``faults`` are minor, those of children waited for, major, and of children; ``io_b`` None may not be read."""
        folder = self.root / str(pid)
        (folder / "ns").mkdir(parents=True, exist_ok=True)
        fields = ["S", parent, 1, 1, 0, -1, 0, *faults, own, 0, reaped, 0, 20, 0, 1, 0, start, 0, 10, 0]
        (folder / "stat").write_text(f"{pid} ({comm}) " + " ".join(map(str, fields)) + "\n")
        (folder / "cmdline").write_text(title)
        if io_b is not None:
            (folder / "io").write_text(f"rchar: 5\nwchar: 6\nread_bytes: {io_b[0]}\nwrite_bytes: {io_b[1]}\n")
        if environ is not None:
            (folder / "environ").write_text("\0".join(f"{key}={value}" for key, value in environ.items()))
        if namespace and not (folder / "ns/mnt").is_symlink():
            (folder / "ns/mnt").symlink_to(namespace)

    def end(self, pid: int) -> None:
        shutil.rmtree(self.root / str(pid))
