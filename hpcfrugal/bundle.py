"""Builds ``sidecar.pyz``, the one file that runs on a node: the sidecar and the part of pynvml it uses.

The file holds each module as source, for whatever Python a node has. For the Python that builds it, its
``__main__.pyc`` holds the byte code of all of them at once (see ``sidecar/boot.py``): zipimport takes it where
the magic number fits, and it is never checked against the source (PEP 552), so that no timestamp matters.
pynvml is one file of 8000 lines, mostly for things that a sidecar never asks: loading all of it costs 25 ms
and 4 MB, so only the functions in use go in, cut from the library's own source with all that they refer to.

The bytes depend on nothing but the sources, the pynvml release and the Python release.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from types import CodeType

PACKAGE_DIR = Path(__file__).parent / "sidecar"

PACKAGE_NAME = "hpcfrugal_sidecar"
"""The sidecar's name inside the file, another than ours, so that neither can be taken for the other."""

PYNVML_NAMES = frozenset(
    {
        "NVMLError",
        "nvmlDeviceGetCount",
        "nvmlDeviceGetDeviceHandleFromMigDeviceHandle",
        "nvmlDeviceGetHandleByIndex",
        "nvmlDeviceGetHandleByUUID",
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetName",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetUUID",
        "nvmlInit",
        "nvmlShutdown",
    }
)
"""All that the sidecar uses of pynvml; a test compares this with its source."""

_MAIN = f"""from {PACKAGE_NAME}.__main__ import main

main()
"""

_BUILDING = threading.Lock()

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)

_FORMAT = 1
"""Raised whenever this module writes another file from the same sources."""


def sidecar_zipapp(dest: Path) -> Path:
    """Write the zipapp to ``dest`` (replaced atomically, mode 0644) and return ``dest``.

    Raises OSError where a source cannot be read or ``dest`` not written, and ImportError without pynvml.
    """
    import tempfile

    dest.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=dest.name + ".", suffix=".tmp", dir=dest.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_zip_bytes())
            os.fchmod(file.fileno(), 0o644)
        os.replace(name, dest)
    except BaseException:
        os.unlink(name)
        raise
    return dest


def cached_sidecar(cache_dir: Path) -> Path:
    """The zipapp in ``cache_dir``, built at the first call after anything that goes into it has changed.

    A call with nothing to build only looks at file times, about 0.2 ms. Two processes may call it at once:
    each builds the same bytes and the last rename wins. Raises what ``sidecar_zipapp`` raises.
    """
    dest = cache_dir / f"sidecar-{_fingerprint()}.pyz"
    if not dest.exists():
        # one thread at a time: the ast module of CPython 3.11 keeps a counter that threads share
        with _BUILDING:
            if not dest.exists():
                sidecar_zipapp(dest)
    return dest


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
    import hashlib

    digest = hashlib.blake2b(digest_size=12)
    digest.update(f"{_FORMAT} {sys.implementation.cache_tag} {sys.version_info} ".encode())
    for path in [*_sources(), _pynvml_path(), Path(__file__)]:
        status = path.stat()
        digest.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode())
    return digest.hexdigest()


def _zip_bytes() -> bytes:
    import io
    import zipfile

    sources: dict[str, str] = {}
    for path in _sources():
        name = f"{PACKAGE_NAME}/{path.relative_to(PACKAGE_DIR).as_posix()}"
        sources[name] = path.read_text(encoding="utf-8")
    boot = sources.pop(f"{PACKAGE_NAME}/boot.py")
    sources["pynvml.py"] = slim_pynvml(_pynvml_path().read_text(encoding="utf-8"))
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
    """Code without docstrings and assertions."""
    code: CodeType = compile(source, name, "exec", dont_inherit=True, optimize=2)
    return code


def _byte_code(source: str) -> bytes:
    """The bytes of a ``__main__.pyc`` that is never checked against its source (PEP 552, flags 0b01)."""
    import marshal

    flags = (0b01).to_bytes(4, "little")
    source_hash = importlib.util.source_hash(source.encode())
    return importlib.util.MAGIC_NUMBER + flags + source_hash + marshal.dumps(_compile(source, "__main__.py"))


def slim_pynvml(source: str) -> str:
    """``pynvml``'s source reduced to ``PYNVML_NAMES`` and what they refer to, its statements unchanged.

    Bare calls at module level go: they build a subclass per error code, and ``NVMLError.value`` says as
    much. Where a release is built so differently that the result would lack a name, all of it is kept.
    """
    import ast

    tree = ast.parse(source)
    wanted = set(PYNVML_NAMES)
    kept: set[int] = set()
    grown = True
    while grown:
        grown = False
        for index, statement in enumerate(tree.body):
            if index not in kept and _binds(statement) & wanted:
                kept.add(index)
                wanted |= _refers(statement)
                grown = True
    body: list[ast.stmt] = []
    for index, statement in enumerate(tree.body):
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            body.extend(_used_import(statement, wanted))
        elif index in kept:
            body.append(statement)
    bound = {name for statement in body for name in _binds(statement)}
    if not wanted - _builtin_names() - _star_names(body) <= bound:
        return source
    return _licence(source) + ast.unparse(ast.Module(body=body, type_ignores=[])) + "\n"


def _licence(source: str) -> str:
    """The comment lines that ``source`` opens with: its licence asks that they stay."""
    lines = source.splitlines(keepends=True)
    end = next((index for index, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "".join(lines[:end])


def _binds(statement: ast.stmt) -> set[str]:
    import ast

    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.If, ast.Try)):
        stores = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
        return {node.id for node in stores if isinstance(node.ctx, ast.Store)}
    return set()


def _refers(statement: ast.stmt) -> set[str]:
    import ast

    return {name for node in ast.walk(statement) for name in _names_of(node)} - _local_names(statement)


def _names_of(node: ast.AST) -> Iterator[str]:
    import ast

    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Global):
        yield from node.names


def _local_names(statement: ast.stmt) -> set[str]:
    """Names that a function makes for itself, which say nothing about the module."""
    import ast

    if not isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return set()
    made: set[str] = set()
    shared: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler)) and node.name:
            made.add(node.name)
        elif isinstance(node, ast.Global):
            shared.update(node.names)
    return made - shared


def _used_import(statement: ast.Import | ast.ImportFrom, wanted: set[str]) -> list[ast.stmt]:
    import ast

    names = [
        alias for alias in statement.names if alias.name == "*" or (alias.asname or alias.name).split(".")[0] in wanted
    ]
    if not names:
        return []
    if isinstance(statement, ast.ImportFrom):
        return [ast.ImportFrom(module=statement.module, names=names, level=statement.level)]
    return [ast.Import(names=names)]


def _builtin_names() -> set[str]:
    import builtins

    return {*dir(builtins), "__name__", "__file__"}


def _star_names(body: list[ast.stmt]) -> set[str]:
    """What ``from ctypes import *`` brings in."""
    import ast
    import importlib

    names: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*" and statement.module:
            names |= {name for name in vars(importlib.import_module(statement.module)) if name[0] != "_"}
    return names
