"""The zipapp: same bytes every time, byte code where it fits, and one copy of it in a spool."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpcfrugal.core.lock import take_lock
from hpcfrugal.spool import zipapp


def test_same_bytes_every_time(tmp_path: Path) -> None:
    first = zipapp.sidecar_zipapp(tmp_path / "a.pyz")
    second = zipapp.sidecar_zipapp(tmp_path / "b.pyz")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pyz", "b.pyz"]


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
        f"{zipapp.PACKAGE_NAME}/{path.relative_to(zipapp.PACKAGE_DIR)}" for path in zipapp.PACKAGE_DIR.rglob("*.py")
    }
    assert len(modules) > 20
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


def test_spool_has_one_copy_and_runs_have_links(tmp_path: Path) -> None:
    spool, runs = tmp_path / "spool", [tmp_path / name for name in ("a.pyz", "b.pyz")]
    for run in runs:
        zipapp.put_sidecar(spool, run)
    (shared,) = (spool / "sidecar").glob("*.pyz")
    assert {path.stat().st_ino for path in (shared, *runs)} == {shared.stat().st_ino}
    assert shared.read_bytes() == zipapp.sidecar_zipapp(tmp_path / "plain.pyz").read_bytes()
    assert (shared.stat().st_mode & 0o777, shared.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_copy_where_links_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMLINK, "Too many links")

    monkeypatch.setattr(os, "link", refuse)
    zipapp.put_sidecar(tmp_path, tmp_path / "a.pyz")
    assert (tmp_path / "a.pyz").read_bytes() == zipapp.shared_sidecar(tmp_path).read_bytes()


@pytest.mark.serial
def test_shared_copy_is_found_quickly(tmp_path: Path) -> None:
    first = zipapp.shared_sidecar(tmp_path)
    inode = first.stat().st_ino
    begun = time.process_time()
    for _ in range(20):
        assert zipapp.shared_sidecar(tmp_path) == first
    assert (time.process_time() - begun) / 20 < 0.02
    assert first.stat().st_ino == inode


def test_versions_lie_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "sidecar-sources"
    shutil.copytree(zipapp.PACKAGE_DIR, package)
    monkeypatch.setattr(zipapp, "PACKAGE_DIR", package)
    first = zipapp.shared_sidecar(tmp_path)
    run = tmp_path / "run.pyz"
    zipapp.put_sidecar(tmp_path, run)
    before = (package / "loop.py").stat()
    source = (package / "loop.py").read_text()
    (package / "loop.py").write_text(source[:-1] + "#")
    os.utime(package / "loop.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    second = zipapp.shared_sidecar(tmp_path)
    assert first != second
    assert first.stat().st_ino == run.stat().st_ino
    (package / "loop.py").write_text(source)
    assert zipapp.shared_sidecar(tmp_path) == first
    # No run has the second one, and from here on none the first, which is older than a day.
    run.unlink()
    os.utime(first, (time.time() - 86_401,) * 2)
    os.utime(second, (time.time() - 86_390,) * 2)
    (package / "loop.py").write_text(source + "#")
    third = zipapp.shared_sidecar(tmp_path)
    assert {*(tmp_path / "sidecar").glob("*.pyz")} == {second, third}


def test_a_version_that_another_process_removes_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is made while another version is installed: the lock is held from finding the file to linking it."""
    found = zipapp.shared_sidecar(tmp_path)
    holds = threading.Event()

    def slow(spool_root: Path) -> Path:
        holds.set()
        time.sleep(0.2)
        return found

    monkeypatch.setattr(zipapp, "shared_sidecar", slow)
    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(zipapp.put_sidecar, tmp_path, tmp_path / "run.pyz")
        assert holds.wait(10)
        with take_lock(tmp_path / "sidecar/.lock", wait_s=10):
            zipapp._remove_unused(tmp_path / "sidecar/another.pyz")
        put.result()
    assert found.stat().st_nlink == 2


@pytest.mark.parametrize("kind", ["link", "pipe", "folder of another", "file of another"])
def test_what_is_not_ours_is_not_run(tmp_path: Path, kind: str) -> None:
    shared = zipapp.shared_sidecar(tmp_path)
    good = shared.read_bytes()
    if "another" in kind:
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        os.chown(shared.parent if "folder" in kind else shared, 12345, 12345)
        shared.write_bytes(b"bad")
    else:
        shared.unlink()
        if kind == "link":
            (tmp_path / "bad").write_bytes(b"bad")
            shared.symlink_to(tmp_path / "bad")
        else:
            os.mkfifo(shared)
    if kind == "folder of another":
        with pytest.raises(PermissionError, match="belongs to another user"):
            zipapp.put_sidecar(tmp_path, tmp_path / "a.pyz")
        return
    zipapp.put_sidecar(tmp_path, tmp_path / "a.pyz")
    assert (tmp_path / "a.pyz").read_bytes() == good
    assert stat.S_ISREG(shared.lstat().st_mode)


@pytest.mark.slow
def test_many_write_it_at_once(tmp_path: Path) -> None:
    script = "import sys, pathlib; from hpcfrugal.spool import zipapp; "
    script += "print(zipapp.shared_sidecar(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", script, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        here = set(pool.map(lambda _: zipapp.shared_sidecar(tmp_path), range(8)))
    there = {Path(process.communicate()[0].strip()) for process in running}
    assert here == there
    assert list((tmp_path / "sidecar").iterdir()) == list(here)
    with zipfile.ZipFile(here.pop()) as archive:
        assert archive.testzip() is None


def test_import_is_light() -> None:
    script = "import sys; import hpcfrugal.spool.zipapp; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"zipfile", "ast", "tempfile", "importlib.metadata"} & set(done.stdout.split()) <= {"ast"}
