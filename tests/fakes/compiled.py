"""What many tests would compile anew from the same sources, compiled once: the sidecar's program, batch templates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jinja2

from hpcfrugal.job import render
from hpcfrugal.spool import zipapp


@contextmanager
def kept() -> Iterator[None]:
    """Keep the results while this lasts. Sources that are not the installed ones are compiled as ever."""
    compile_template, build = jinja2.Environment.compile, zipapp._zip_bytes
    templates: dict[Any, Any] = {}
    programs: dict[str, bytes] = {}

    def template(environment: jinja2.Environment, *source: Any) -> Any:
        if source not in templates:
            templates[source] = compile_template(environment, *source)
        return templates[source]

    def program(sources: dict[str, str]) -> bytes:
        key = repr(sources)
        if key not in programs:
            programs[key] = build(sources)
        return programs[key]

    jinja2.Environment.compile, zipapp._zip_bytes = template, program  # type: ignore[method-assign]
    try:
        yield
    finally:
        jinja2.Environment.compile, zipapp._zip_bytes = compile_template, build  # type: ignore[method-assign]


def compile_all() -> None:
    """Compile what is installed, for processes that are forked from this one."""
    environment = render._environment(())
    for name in environment.list_templates():
        environment.get_template(name)
    zipapp._zip_bytes(zipapp._sources())
