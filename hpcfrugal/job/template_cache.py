"""Compiled templates, kept in the user's cache: to compile those of a job takes longer than to read its job file."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import jinja2

from hpcfrugal.core.directories import cache_dir
from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.files import write_atomic
from hpcfrugal.core.safe_read import UnsafeFile, read_regular
from hpcfrugal.core.version import __version__

_MAX_BYTES = 4_000_000


class TemplateCache(jinja2.BytecodeCache):
    """A file for each template, which counts as long as the text of the template is the same.

    Files are of this hpcfrugal and this jinja2; jinja2 itself sees to that they are of this Python.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, bucket: jinja2.bccache.Bucket) -> Path:
        return self._folder / f"{bucket.key}-{__version__}-{jinja2.__version__}"

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        """Fill ``bucket`` from its file, if that is of this user: it holds code."""
        with suppress(UnsafeFile, OSError):
            data, _ = read_regular(self._path(bucket), _MAX_BYTES, owner_uid=os.getuid())
            try:
                bucket.bytecode_from_string(data)
            except Exception:  # whatever pickle and marshal make of a damaged file
                bucket.reset()

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        """Keep what was compiled, where that is possible."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(self._path(bucket), bucket.bytecode_to_string())


def template_cache() -> TemplateCache | None:
    """That of this user; None for one without a home."""
    try:
        return TemplateCache(cache_dir() / "templates")
    except SetupError:
        return None
