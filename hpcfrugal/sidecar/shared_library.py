"""Whether the dynamic linker would find a library. It is not loaded: that runs code of its vendor."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_CACHE = "/etc/ld.so.cache"
_FOLDERS = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")


def is_found(name: str, environ: Mapping[str, str], cache: str = _CACHE) -> bool:
    """Whether ``name`` is in the linker's cache, in LD_LIBRARY_PATH or in a standard directory (ld.so(8)).

    True as well where there is no cache, as with musl: then it is not known.
    """
    try:
        with open(cache, "rb") as file:
            if b"\0" + name.encode() + b"\0" in file.read():
                return True
    except OSError:
        return True
    folders = environ.get("LD_LIBRARY_PATH", "").replace(";", ":").split(":")
    return any(os.path.exists(os.path.join(folder, name)) for folder in (*filter(None, folders), *_FOLDERS))
