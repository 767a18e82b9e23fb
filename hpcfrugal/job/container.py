"""The container that a job's command runs in (Apptainer or Singularity)."""

from __future__ import annotations

from typing import Any

from hpcfrugal.core.section import optional, required
from hpcfrugal.job.section import JobSection
from hpcfrugal.job.text_types import Lines, Switch, TextLine


class Container(JobSection):
    """An image alone (`container: my.sif`), or a mapping of the image and the options to start it with."""

    not_a_mapping = ("must be a mapping of keys", "write for example `container: {image: torch.sif}`")

    image: str = required(TextLine, "Image file, or an address such as `docker://python:3.12`.", "images/torch.sif")
    nv: bool | None = optional(
        Switch, "Whether to pass the GPUs into the container (`--nv`); by default if the job asks for GPUs.", True
    )
    binds: tuple[str, ...] = optional(
        Lines,
        "Directories to mount in the container, as `source[:target[:options]]`.",
        ["/scratch:/data:ro"],
        default=(),
    )
    options: tuple[str, ...] = optional(Lines, "Further options of `apptainer exec`.", ["--cleanenv"], default=())

    @classmethod
    def written_out(cls, values: Any) -> Any:
        """An image alone."""
        return {"image": values} if isinstance(values, str) else values
