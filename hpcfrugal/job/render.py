"""JobSpec -> script text. The one place that finds templates and the one that quotes values for the shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.version import __version__
from hpcfrugal.job.batch_script import component_flags, components, directive_flags, quote_flag
from hpcfrugal.job.command_types import is_python_file
from hpcfrugal.job.model import SBATCH, JobSpec
from hpcfrugal.job.option_table import Flag
from hpcfrugal.spool.zipapp import SIDECAR_ENVIRON

if TYPE_CHECKING:
    import jinja2

_PACKAGE_DIR = Path(__file__).resolve().parents[1]
# Forwarded from the batch shell to the user's commands. KILL and STOP can't be caught.
FORWARDED_SIGNALS = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "XCPU")
DEFAULT_PYTHONS = ("python3", "/usr/bin/python3")

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "csh", "tcsh", "fish"})


@dataclass(frozen=True, slots=True)
class Rendered:
    """A batch script and the template that it was rendered from."""

    text: str
    template: str
    template_path: str

    @property
    def data(self) -> bytes:
        """The script's bytes; a path that is not UTF-8 keeps its own."""
        return self.text.encode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class UserScript:
    """The user's script as it was at submission.

    ``path`` is where the nodes find it. ``text`` is used if that file is gone; None for a binary.
    """

    interpreter: Sequence[str]
    path: str
    text: str | None


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """When an interruptible job runs, and what its batch script needs in order to follow that.

    ``windows`` are (start, end) in seconds since the epoch, in order. ``limit_s`` is the total run time that the job
    may need, ``deadline_s`` the time by which it must have ended, ``margin_s`` the time in the queue to allow for each
    requeue. Costs are run time; ``grace_s`` is the maximum time to wait for a checkpoint.
    """

    windows: tuple[tuple[int, int], ...]
    limit_s: int
    deadline_s: int
    margin_s: int
    signal: str
    grace_s: int
    restart_cost_s: int = 0
    checkpoint_cost_s: int = 0


def builtin_templates() -> Path:
    """The directory of the templates that ship with hpcfrugal.

    An installed wheel has them inside the package; a source tree (also an editable install) at its top level.
    """
    installed = _PACKAGE_DIR / "_templates"
    return installed if installed.is_dir() else _PACKAGE_DIR.parent / "templates"


def choose_template(spec: JobSpec) -> str:
    """The template that a job asks for, or the one that fits its resources."""
    if spec.template is not None:
        return spec.template
    if spec.container is not None:
        return "container"
    if spec.resources.array is not None:
        return "array"
    return "plain"


def has_nodes_to_itself(spec: JobSpec) -> bool:
    """Whether Slurm runs no other job on the job's nodes, or those of its first component.

    ``--exclusive=user`` and ``--oversubscribe`` among the further options share them after all.
    """
    return spec.resources.exclusive and not _shares([*SBATCH.read(spec.sbatch), *directive_flags(spec.directives)])


def _shares(flags: Sequence[Flag]) -> bool:
    sharing = SBATCH.keys["resources.exclusive"].other_values
    return any(flag.name == "oversubscribe" or (flag.name == "exclusive" and flag.value in sharing) for flag in flags)


def _further_exclusive(spec: JobSpec) -> list[bool]:
    """Whether each further component of a heterogeneous job has its nodes to itself."""
    _, *further = component_flags(spec.directives)
    return [any(flag.name == "exclusive" for flag in flags) and not _shares(flags) for flags in further]


def _is_shell(interpreter: Sequence[str]) -> bool:
    words = [word.rpartition("/")[2] for part in interpreter for word in part.split()]
    return any(word in _SHELLS for word in words)


def _container_arguments(spec: JobSpec) -> list[str]:
    container = spec.container
    if container is None:
        return []
    nv = container.nv if container.nv is not None else spec.resources.wants_gpus
    words = ["--nv"] if nv else []
    for bind in container.binds:
        words += ["--bind", bind]
    return [*words, *container.options, container.image]


@lru_cache(maxsize=4)
def _environment(template_dirs: tuple[Path, ...]) -> jinja2.Environment:
    """What compiles templates, each once in a process as long as its file stays as it is."""
    import jinja2

    from hpcfrugal.job.template_cache import template_cache

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*map(str, template_dirs), str(builtin_templates())]),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        bytecode_cache=template_cache(),
    )
    environment.filters["sh"] = shlex.quote
    environment.filters["sbatch"] = quote_flag
    return environment


def template_names(template_dirs: Sequence[Path]) -> list[str]:
    """The names of all templates, including those of the user and the site."""
    found: set[str] = set()
    for directory in (*template_dirs, builtin_templates()):
        if os.path.isdir(directory):  # False where this user may not look
            found |= {path.name.removesuffix(".sbatch.j2") for path in directory.glob("*.sbatch.j2")}
    return sorted(found - {"base"})


def render_script(
    spec: JobSpec,
    *,
    flags: Sequence[str],
    script: UserScript | None,
    run_id: str,
    run_dir: Path,
    slurm: bool,
    pythons: Sequence[str] = DEFAULT_PYTHONS,
    template_dirs: tuple[Path, ...] = (),
    where: str = "job",
    segments: SegmentPlan | None = None,
) -> Rendered:
    """Render the batch script of one job.

    Args:
        flags: sbatch options for the ``#SBATCH`` lines, as ``--name=value``.
        script: the user's script, or None for a command.
        run_dir: the run directory, as the compute nodes see it.
        slurm: False renders for the local backend.
        pythons: Python interpreters to try for the sidecar on a node, in this order.
        where: name of the file in error messages.
        segments: for a job that is stopped and started again. With one window it is not interrupted.

    Raises:
        InputError: there is no such template, or it can't be rendered.
    """
    import jinja2

    name = choose_template(spec)
    own_lines, *further = components(spec.directives)
    context: Mapping[str, Any] = {
        "version": __version__,
        "run_id": run_id,
        "run_dir": str(run_dir),
        "spec": spec,
        "directives": own_lines,
        "further_directives": [line for some in further for line in some],
        "flags": flags,
        "slurm": slurm,
        "signals": FORWARDED_SIGNALS,
        "measured": spec.energy.enabled,
        "interval_s": format(spec.energy.interval.total_seconds(), "g"),
        "record_s": format(spec.energy.record.total_seconds(), "g"),
        "hardware_counters": spec.energy.hardware_counters,
        "exclusive": slurm and has_nodes_to_itself(spec),
        "further_exclusive": _further_exclusive(spec),
        "pythons": pythons,
        "sidecar_environ": SIDECAR_ENVIRON,
        "command": spec.command,
        "is_python_file": is_python_file,
        "script": None if script is None else [*script.interpreter, script.path, *spec.args],
        "interpreter": script.interpreter if script else [],
        "shell": script is None or _is_shell(script.interpreter),
        "script_path": script.path if script else None,
        "script_text": script.text if script else None,
        "args": spec.args,
        "env": spec.env,
        "matrix": spec.matrix,
        "modules": spec.modules,
        "conda": spec.conda,
        "venv": spec.venv,
        "setup": spec.setup,
        "teardown": spec.teardown,
        "container": _container_arguments(spec),
        "segments": segments if segments is not None and len(segments.windows) > 1 else None,
    }
    try:
        template = _environment(template_dirs).get_template(f"{name}.sbatch.j2")
        text = template.render(context)
    except jinja2.TemplateNotFound as error:
        if error.name != f"{name}.sbatch.j2":
            raise InputError.at(f"template {name}", f"includes {error.name}, which was not found") from None
        known = ", ".join(template_names(template_dirs))
        raise InputError.at(f"{where}: template", f"there is no template {name!r}", f"known: {known}") from None
    except jinja2.TemplateSyntaxError as error:
        raise InputError.at(
            f"{error.filename or name}:{error.lineno}", f"is not a valid template: {error.message}"
        ) from None
    except jinja2.TemplateError as error:
        raise InputError.at(f"template {name}", f"can't be rendered: {error.message}") from None
    except ValueError as error:
        raise InputError([Problem(where, f"an sbatch option {error}")]) from None
    return Rendered(text=text, template=name, template_path=str(template.filename))
