"""Builds ``sidecar.pyz``, the one file that runs on a node: the sidecar and the part of pynvml it uses.

The file holds each module as source, for whatever Python a node has. For the Python that builds it, its
``__main__.pyc`` holds the byte code of all of them at once (see ``sidecar/boot.py``): zipimport takes it where
the magic number fits, and it is never checked against the source (PEP 552), so that no timestamp matters.
Of pynvml only the functions in use go in, see ``pynvml_cut.py``.

A site's own sensors, entry points of the group ``hpcfrugal.sensors``, travel along: the module that an entry
names, with the rest of the package that holds it. What stands around that package is left out, so a sensor has
to do with the standard library, on a node that may have an older Python.

The bytes depend on nothing but the sources, the pynvml release, these sensors and the Python release.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from hpcfrugal.spool import pynvml_subset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

PACKAGE_DIR = Path(__file__).resolve().parents[1] / "sidecar"

PACKAGE_NAME = "hpcfrugal_sidecar"
"""The sidecar's name inside the file, another than ours, so that neither can be taken for the other."""

_MAIN = f"""from {PACKAGE_NAME}.__main__ import main

main()
"""

SENSOR_GROUP = "hpcfrugal.sensors"
"""Entry points ``name = module:factory``; see ``sidecar/sensors/site.py`` for what a factory takes and gives."""

_MOST_SENSOR_FILES = 64
_MOST_SENSOR_BYTES = 1024 * 1024
"""What one sensor may bring along: more is taken for a package that was not made for this."""

_BUILDING = threading.Lock()

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)

_FORMAT = 3
"""Raised whenever this module writes another file from the same sources."""


def sidecar_zipapp(dest: Path) -> Path:
    """Write the zipapp to ``dest`` (replaced atomically, mode 0644) and return ``dest``.

    Raises OSError where a source cannot be read or ``dest`` not written, and ImportError without pynvml.
    """
    _write(dest, _zip_bytes())
    return dest


def _write(dest: Path, data: bytes) -> None:
    import tempfile

    dest.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=dest.name + ".", suffix=".tmp", dir=dest.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), 0o644)
        os.replace(name, dest)
    except BaseException:
        os.unlink(name)
        raise


def cached_sidecar(cache_dir: Path) -> Path:
    """The zipapp in ``cache_dir``, built at the first call after anything that goes into it has changed.

    A call with nothing to build only looks at file times, about 0.3 ms: entry points are only looked for when
    something was installed or removed, which changes the time of a site-packages directory. Two processes may
    call it at once: each builds the same bytes and the last rename wins. Raises what ``sidecar_zipapp`` raises.
    """
    dest = cache_dir / f"sidecar-{_fingerprint()}.pyz"
    if dest.exists():
        return dest
    # The files of a site's sensors can change in place; they are listed beside the zipapp.
    listed = dest.with_suffix(".sensors")
    if listed.exists():
        varying = _with_sensors(dest, listed.read_text(encoding="utf-8").splitlines())
        if varying.exists():
            return varying
    # one thread at a time: the ast module of CPython 3.11 keeps a counter that threads share
    with _BUILDING:
        paths = [str(path) for sensor in site_sensors() for path in sensor.files.values()]
        if paths:
            dest = _with_sensors(dest, paths)
            _write(listed, "".join(f"{path}\n" for path in paths).encode())
        if not dest.exists():
            sidecar_zipapp(dest)
    return dest


def _with_sensors(dest: Path, paths: list[str]) -> Path:
    """The zipapp's name with the present times and sizes of ``paths`` in it."""
    return dest.with_name(f"{dest.stem}-{_digest(paths)}.pyz")


def _sources() -> list[Path]:
    return sorted(
        Path(folder) / name for folder, _, names in os.walk(PACKAGE_DIR) for name in names if name.endswith(".py")
    )


def _pynvml_path() -> Path:
    spec = importlib.util.find_spec("pynvml")
    if spec is None or spec.origin is None:
        raise ImportError("pynvml (of the distribution nvidia-ml-py) is not installed")
    return Path(spec.origin)


def _fingerprint() -> str:
    """A name that changes when the zipapp would: from file times and sizes, without reading a file."""
    folders = [Path(folder) for folder in _site_folders()]
    return _digest(
        [*_sources(), _pynvml_path(), Path(__file__), Path(pynvml_subset.__file__), *folders], str(sys.version_info)
    )


def _digest(paths: Sequence[Path | str], more: str = "") -> str:
    import hashlib

    digest = hashlib.blake2b(digest_size=12)
    digest.update(f"{_FORMAT} {sys.implementation.cache_tag} {more} ".encode())
    for path in paths:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            digest.update(f"{path} -\n".encode())
        else:
            digest.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode())
    return digest.hexdigest()


class SensorEntryPoint:
    """One entry point: its name, module and factory, and its files by their names in the zipapp."""

    def __init__(self, name: str, module: str, factory: str, files: dict[str, Path]) -> None:
        self.name = name
        self.module = module
        self.factory = factory
        self.files = files


def _site_folders() -> list[str]:
    """Where distributions are installed. The current directory is left out: it changes with every job's output."""
    return [folder for folder in sys.path if os.path.basename(folder) in ("site-packages", "dist-packages")]


def site_sensors() -> list[SensorEntryPoint]:
    """The installed sensors of a site, by name. One that cannot be found or compiled is left out with a warning."""
    import warnings
    from importlib.metadata import distributions

    found: dict[str, SensorEntryPoint] = {}
    for distribution in distributions(path=_site_folders()):
        for entry in distribution.entry_points:
            if entry.group != SENSOR_GROUP or entry.name in found:
                continue
            try:
                files = _module_files(entry.module)
                for path in files.values():
                    _compile(path.read_text(encoding="utf-8"), str(path))
            except (OSError, ValueError, ImportError, SyntaxError) as error:
                warnings.warn(f"sensor {entry.name} ({entry.value}) is left out: {error}", stacklevel=2)
                continue
            found[entry.name] = SensorEntryPoint(entry.name, entry.module, entry.attr, files)
    return [found[name] for name in sorted(found)]


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


def _sensor_sources() -> dict[str, str]:
    """Files of all site sensors by name in the zipapp, and the list by which the sidecar finds them."""
    sources: dict[str, str] = {}
    entries = []
    for sensor in site_sensors():
        for name, path in sensor.files.items():
            sources[name] = path.read_text(encoding="utf-8")
            parents = name.split("/")[:-1]
            for depth in range(1, len(parents) + 1):
                # A package around the sensor's own is there by name only.
                sources.setdefault("/".join([*parents[:depth], "__init__.py"]), "")
        entries.append((sensor.name, sensor.module, sensor.factory))
    if entries:
        sources[f"{PACKAGE_NAME}/site_sensors.py"] = f"SENSORS = {tuple(entries)!r}\n"
    return sources


def _zip_bytes() -> bytes:
    import io
    import zipfile

    sources: dict[str, str] = {}
    for path in _sources():
        name = f"{PACKAGE_NAME}/{path.relative_to(PACKAGE_DIR).as_posix()}"
        sources[name] = path.read_text(encoding="utf-8")
    boot = sources.pop(f"{PACKAGE_NAME}/boot.py")
    sources["pynvml.py"] = pynvml_subset.slim_pynvml(_pynvml_path().read_text(encoding="utf-8"))
    sources.update(_sensor_sources())
    members = {name: source.encode() for name, source in sources.items()}
    members["__main__.py"] = _MAIN.encode()
    members["__main__.pyc"] = _byte_code(f"{boot}\ninstall({_embedded(sources)!r})\n{_MAIN}")
    buffer = io.BytesIO()
    # Stored, not deflated: the node then needs no zlib, and the file is small as it is.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(members.items()):
            info = zipfile.ZipInfo(name, date_time=_ZIP_EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def _embedded(sources: dict[str, str]) -> dict[str, tuple[bool, bytes]]:
    """Module name to (whether it is a package, its code) for ``boot.install``."""
    import marshal

    modules = {}
    for path, source in sorted(sources.items()):
        is_package = path.endswith("/__init__.py")
        name = path.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        modules[name] = (is_package, marshal.dumps(_compile(source, path)))
    return modules


def _compile(source: str, name: str) -> CodeType:
    """Code without docstrings and assertions, and without the import of ``__future__``, which is a file to open."""
    import __future__

    import ast

    tree = ast.parse(source, name)
    flags = 0
    for statement in list(tree.body):
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            for alias in statement.names:
                flags |= getattr(__future__, alias.name).compiler_flag
            tree.body.remove(statement)
    code: CodeType = compile(tree, name, "exec", flags, dont_inherit=True, optimize=2)
    return code


def _byte_code(source: str) -> bytes:
    """The bytes of a ``__main__.pyc`` that is never checked against its source (PEP 552, flags 0b01)."""
    import marshal

    flags = (0b01).to_bytes(4, "little")
    source_hash = importlib.util.source_hash(source.encode())
    return importlib.util.MAGIC_NUMBER + flags + source_hash + marshal.dumps(_compile(source, "__main__.py"))
