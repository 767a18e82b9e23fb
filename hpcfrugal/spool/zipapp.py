"""Builds ``sidecar.pyz``, the one file that runs on a node, and keeps a copy of it in the spool.

It holds the package ``sidecar`` and the part of pynvml that this uses (see ``pynvml_subset``).

The file holds each module as source, for whatever Python a node has. For the Python that builds it, its
``__main__.pyc`` holds the byte code of all of them at once (see ``sidecar/boot.py``): zipimport takes it where
the magic number fits, and it is never checked against the source (PEP 552), so that no timestamp matters. What a
plain zipapp would cost instead is in docs/measurements.md.

A site's own sensors, entry points of the group ``hpcfrugal.sensors``, travel along: the module that an entry
names, with the rest of the package that holds it. Packages around it are left out, so a sensor can use only
the standard library, on a node that may have an older Python.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import time
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path

from hpcfrugal.core.files import write_atomic
from hpcfrugal.core.lock import LockHeld, take_lock
from hpcfrugal.core.safe_read import refusal
from hpcfrugal.spool.layout import SIDECAR_DIR, own_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

PACKAGE_DIR = Path(__file__).resolve().parents[1] / "sidecar"

PACKAGE_NAME = "hpcfrugal_sidecar"
"""The sidecar's name inside the file, another than ours, so that neither can be taken for the other."""

_MAIN = f"""from {PACKAGE_NAME}.__main__ import run_sidecar

run_sidecar()
"""

_FUTURE = "\nfrom __future__ import annotations\n"

_PYNVML = "pynvml.py"
_SUBSET = Path(__file__).with_name("pynvml_subset.py")

SIDECAR_ENVIRON = {"MALLOC_TRIM_THRESHOLD_": "131072"}
"""What the sidecar has in its environment: glibc keeps to this, its default, also after large blocks were freed, and
gives the memory above it back (mallopt(3)), which is 0.5 MB."""

SENSOR_GROUP = "hpcfrugal.sensors"
"""Entry points ``name = module:factory``; see ``sidecar/sensors/site.py`` for what a factory takes and gives."""

_LOCK_WAIT_S = 2.0
_KEPT_S = 86_400

_MOST_SENSOR_FILES = 64
_MOST_SENSOR_BYTES = 1024 * 1024
"""Largest sensor that is packed; a larger package was not made for this."""


def sidecar_zipapp(dest: Path) -> Path:
    """Write the zipapp to ``dest`` and return ``dest``. Raises OSError."""
    write_atomic(dest, _zip_bytes(_sources()))
    return dest


def shared_sidecar(spool_root: Path) -> Path:
    """The spool's own copy of the zipapp, written where there is none yet of just these sources and this Python.

    The name is a hash of the content, so versions coexist, and processes that write one at the same time write the
    same bytes. When one is written, those that no run has are removed.
    Raises OSError.
    """
    sources = _sources()
    content = hashlib.blake2b(importlib.util.MAGIC_NUMBER, digest_size=12)
    for part in (*chain.from_iterable(sources.items()), *(_read(path) for path in (Path(__file__), _SUBSET))):
        data = part.encode()
        content.update(b"%d:" % len(data) + data)
    path = own_folder(spool_root, SIDECAR_DIR) / f"{content.hexdigest()}.pyz"
    if not _is_own(path):
        write_atomic(path, _zip_bytes(sources))
        _remove_unused(path)
    return path


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _remove_unused(used: Path) -> None:
    """Remove the other zipapps of the spool whose file has no second name in a run directory: what runs, and what is to
    start, has one of its own. Not those of the last day: where the file system has no links, users of two Pythons would
    remove each other's again and again.
    """
    for path in used.parent.glob("*.pyz"):
        with suppress(OSError):
            found = path.lstat()
            if path != used and found.st_nlink == 1 and found.st_mtime < time.time() - _KEPT_S:
                path.unlink()


def put_sidecar(spool_root: Path, dest: Path, like: Path | None = None) -> None:
    """The spool's copy of the zipapp as ``dest``: a second name of the same file where the file system knows such.

    ``like`` is that of another run, which this process made.

    Raises OSError.
    """
    if like is not None:
        with suppress(OSError):
            os.link(like, dest)
            return
    with ExitStack() as locked:
        # Else another version could be removed between the two steps. Who holds it for long has been stopped.
        with suppress(LockHeld):
            locked.enter_context(take_lock(own_folder(spool_root, SIDECAR_DIR) / ".lock", _LOCK_WAIT_S))
        shared = shared_sidecar(spool_root)
        try:
            os.link(shared, dest)
        except OSError:
            # FAT, some network file systems, and a file that has as many names as it can have
            write_atomic(dest, shared.read_bytes())


def _is_own(path: Path) -> bool:
    """Whether it is a regular file of this user: another user could change it while the job runs."""
    try:
        return refusal(path.lstat(), os.getuid()) is None
    except FileNotFoundError:
        return False


def _sources() -> dict[str, str]:
    """The sidecar, all of pynvml, and the sensors of the site: text by name in the zipapp."""
    sources = {
        f"{PACKAGE_NAME}/{path.relative_to(PACKAGE_DIR).as_posix()}": _read(path)
        for path in sorted(PACKAGE_DIR.rglob("*.py"))
    }
    spec = importlib.util.find_spec("pynvml")
    if spec is not None and spec.origin is not None:  # without it, the sidecar reports that GPUs cannot be read
        sources[_PYNVML] = _read(Path(spec.origin))
    return sources | _sensor_sources()


def _sensor_sources() -> dict[str, str]:
    """Files of all sensors of the site, and the list by which the sidecar finds them.

    A sensor that cannot be found or compiled is left out with a warning.
    """
    # Not the current directory: it changes with every job's output.
    folders = [folder for folder in sys.path if os.path.basename(folder) in ("site-packages", "dist-packages")]
    listings = (file for folder in folders for file in Path(folder).glob("*-info/entry_points.txt"))
    if not any(SENSOR_GROUP.encode() in file.read_bytes() for file in listings):
        return {}  # importlib.metadata would take 15 ms to find none
    import warnings
    from importlib.metadata import distributions

    sources: dict[str, str] = {}
    entries: dict[str, tuple[str, str, str]] = {}
    for distribution in distributions(path=folders):
        for entry in distribution.entry_points:
            if entry.group != SENSOR_GROUP or entry.name in entries:
                continue
            try:
                texts = {name: _read(path) for name, path in _module_files(entry.module).items()}
                for name, text in texts.items():
                    _compile(text, name)
            except (OSError, ValueError, ImportError, SyntaxError) as error:
                warnings.warn(f"sensor {entry.name} ({entry.value}) is left out: {error}", stacklevel=2)
                continue
            entries[entry.name] = (entry.name, entry.module, entry.attr)
            sources |= texts
    for name in list(sources):
        # A package around the sensor's own is there by name only.
        for parent in list(Path(name).parents)[:-1]:
            sources.setdefault(f"{parent}/__init__.py", "")
    if entries:
        found = tuple(entries[name] for name in sorted(entries))
        sources[f"{PACKAGE_NAME}/site_sensors.py"] = f"SENSORS = {found!r}\n"
    return sources


def _module_files(module: str) -> dict[str, Path]:
    """The files of a module, or of the package that holds it, without importing any of them.

    Raises ValueError where there are none, or too many.
    """
    top, *rest = module.split(".")
    if top in sys.stdlib_module_names or top in (PACKAGE_NAME, "pynvml", "__main__"):
        raise ValueError(f"the name {top} is taken")
    spec = importlib.util.find_spec(top)
    if spec is None:
        raise ValueError(f"no module {top}")
    if not spec.submodule_search_locations:
        if rest or spec.origin is None or not spec.origin.endswith(".py"):
            raise ValueError(f"no source of {module}")
        return {f"{top}.py": Path(spec.origin)}
    for location in spec.submodule_search_locations:
        folder = Path(location, *rest)
        if not folder.is_dir() and folder.with_suffix(".py").is_file():
            folder, rest = folder.parent, rest[:-1]
        if folder.is_dir():
            break
    else:
        raise ValueError(f"no source of {module}")
    stem = "/".join([top, *rest])
    files = {f"{stem}/{path.relative_to(folder).as_posix()}": path for path in sorted(folder.rglob("*.py"))}
    if not files:
        raise ValueError(f"no source of {module}")
    if len(files) > _MOST_SENSOR_FILES or sum(path.stat().st_size for path in files.values()) > _MOST_SENSOR_BYTES:
        raise ValueError(f"{stem} is too large to travel; give the sensor a package of its own")
    return files


def _zip_bytes(sources: dict[str, str]) -> bytes:
    """The zipapp, stored and not deflated: the node then needs no zlib, and the file is small as it is."""
    import io
    import marshal
    import zipfile

    from hpcfrugal.spool.pynvml_subset import pynvml_subset

    if _PYNVML in sources:
        sources = {**sources, _PYNVML: pynvml_subset(sources[_PYNVML])}
    modules = {}
    for path, text in sorted(sources.items()):
        name = path.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        modules[name] = (path.endswith("/__init__.py"), marshal.dumps(_compile(text, path)))
    loader = sources[f"{PACKAGE_NAME}/boot.py"]
    boot = f"{loader}\nimport sys\nsys.meta_path.insert(0, Embedded({modules!r}))\n{_MAIN}"
    # Of 16 bytes, PEP 552: flags 0b01, a hash of the source, which is not to be checked.
    head = importlib.util.MAGIC_NUMBER + (0b01).to_bytes(4, "little") + bytes(8)
    members = {name: text.encode() for name, text in sources.items()}
    members["__main__.py"] = _MAIN.encode()
    members["__main__.pyc"] = head + marshal.dumps(_compile(boot, "__main__.py"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in sorted(members.items()):
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def _compile(source: str, name: str) -> CodeType:
    """Code without docstrings, assertions and line numbers, which nobody sees on a node and which take 0.3 MB of memory
    there, and without the import of ``__future__``, which is a file to open."""
    import __future__

    flags = __future__.annotations.compiler_flag if _FUTURE in source else 0
    source = source.replace(_FUTURE, "\n\n", 1)
    return _without_lines(compile(source, name, "exec", flags, dont_inherit=True, optimize=2))


def _without_lines(code: CodeType) -> CodeType:
    parts = (_without_lines(part) if isinstance(part, type(code)) else part for part in code.co_consts)
    return code.replace(co_consts=tuple(parts), co_linetable=b"")
