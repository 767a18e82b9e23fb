"""The container that a job's command runs in (Apptainer or Singularity)."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from hpcfrugal.job.section import JobSection, optional
from hpcfrugal.job.text_types import Lines, Switch, TextLine


class Container(JobSection):
    """An image alone (`container: my.sif`), or a mapping of the image and the options to start it with."""

    image: TextLine = Field(
        description="Image file, or an address such as `docker://python:3.12`.", examples=["images/torch.sif"]
    )
    nv: Switch | None = optional(
        "Whether to pass the GPUs into the container (`--nv`); by default if the job asks for GPUs.", True
    )
    binds: Lines = optional(
        "Directories to mount in the container, as `source[:target[:options]]`.", ["/scratch:/data:ro"], default=()
    )
    options: Lines = optional("Further options of `apptainer exec`.", ["--cleanenv"], default=())

    @model_validator(mode="before")
    @classmethod
    def _from_image(cls, data: Any) -> Any:
        return {"image": data} if isinstance(data, str) else data
