"""The zipapp: same bytes every time, real pynvml inside, and a cache that costs nothing when it is warm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpcfrugal.spool import zipapp


def test_same_bytes_every_time(tmp_path: Path) -> None:
    first = zipapp.sidecar_zipapp(tmp_path / "a.pyz")
    second = zipapp.sidecar_zipapp(tmp_path / "deeper/b.pyz")
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pyz", "deeper"]


def test_bytes_do_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    script = "import sys, pathlib; from hpcfrugal.spool import zipapp; zipapp.sidecar_zipapp(pathlib.Path(sys.argv[1]))"
    for seed in ("1", "2"):
        target = str(tmp_path / seed)
        environ = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", script, target], env=environ, check=True)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_holds_the_source_of_every_module(tmp_path: Path) -> None:
    with zipfile.ZipFile(zipapp.sidecar_zipapp(tmp_path / "a.pyz")) as archive:
        names = set(archive.namelist())
    modules = {
        f"{zipapp.PACKAGE_NAME}/{path.relative_to(zipapp.PACKAGE_DIR)}"
        for path in zipapp.PACKAGE_DIR.rglob("*.py")
        if path.name != "boot.py"
    }
    assert names == modules | {"__main__.py", "__main__.pyc", "pynvml.py"}


def _opens(pyz: Path, tmp_path: Path) -> int:
    """How often a start of the sidecar opens its own file."""
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-e", "trace=open,openat", "-o", str(trace)]
    command += [sys.executable, "-I", "-S", str(pyz), "--bogus"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "hpcfrugal sidecar: unknown argument '--bogus'\n")
    return trace.read_text().count(str(pyz))


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_byte_code_is_what_runs_here(tmp_path: Path) -> None:
    """All modules come out of __main__.pyc, so the file is opened a handful of times."""
    pyz = zipapp.sidecar_zipapp(tmp_path / "a.pyz")
    assert _opens(pyz, tmp_path) <= 6


def test_source_is_what_runs_elsewhere(tmp_path: Path) -> None:
    """A byte code of another release is passed over."""
    pyz, other = zipapp.sidecar_zipapp(tmp_path / "a.pyz"), tmp_path / "b.pyz"
    with zipfile.ZipFile(pyz) as here, zipfile.ZipFile(other, "w") as there:
        for name in here.namelist():
            data = here.read(name)
            there.writestr(name, b"\0\0" + data[2:] if name.endswith(".pyc") else data)
    command = [sys.executable, "-I", "-S", str(other), "--bogus"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "hpcfrugal sidecar: unknown argument '--bogus'\n")


def test_cache_builds_once_and_is_quick(tmp_path: Path) -> None:
    first = zipapp.cached_sidecar(tmp_path / "cache")
    inode = first.stat().st_ino
    begun = time.perf_counter()
    for _ in range(20):
        assert zipapp.cached_sidecar(tmp_path / "cache") == first
    assert (time.perf_counter() - begun) / 20 < 0.005
    assert first.stat().st_ino == inode
    assert list((tmp_path / "cache").iterdir()) == [first]


def test_cache_follows_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "sidecar"
    package.mkdir()
    (package / "__init__.py").write_text("A = 1\n")
    (package / "boot.py").write_text("def install(modules):\n    pass\n")
    monkeypatch.setattr(zipapp, "PACKAGE_DIR", package)
    first = zipapp.cached_sidecar(tmp_path / "cache")
    (package / "__init__.py").write_text("A = 22\n")
    second = zipapp.cached_sidecar(tmp_path / "cache")
    assert first != second
    assert first.exists()
    assert b"A = 22" in second.read_bytes()


def test_cache_under_concurrency(tmp_path: Path) -> None:
    script = "import sys, pathlib; from hpcfrugal.spool import zipapp; "
    script += "print(zipapp.cached_sidecar(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", script, str(tmp_path / "cache")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        here = set(pool.map(lambda _: zipapp.cached_sidecar(tmp_path / "cache"), range(8)))
    there = {Path(process.communicate()[0].strip()) for process in running}
    assert here == there
    assert list((tmp_path / "cache").iterdir()) == list(here)
    with zipfile.ZipFile(here.pop()) as archive:
        assert archive.testzip() is None


def test_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> bytes:
        raise ImportError("pynvml")

    monkeypatch.setattr(zipapp, "_zip_bytes", fail)
    with pytest.raises(ImportError):
        zipapp.sidecar_zipapp(tmp_path / "a.pyz")
    assert list(tmp_path.iterdir()) == []


def test_import_is_light() -> None:
    script = "import sys; import hpcfrugal.spool.zipapp; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"pynvml", "zipfile", "ast", "tempfile"} & set(done.stdout.split()) <= {"ast"}
