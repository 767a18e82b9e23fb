"""The container that a job's command runs in (Apptainer or Singularity)."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from hpcfrugal.job.fields import Section
from hpcfrugal.job.forms import Line, Lines, Switch


class Container(Section):
    """An image alone (`container: my.sif`), or a mapping with what it is started with."""

    image: Line = Field(
        description="Image file, or an address such as `docker://python:3.12`.", examples=["images/torch.sif"]
    )
    nv: Switch | None = Field(
        default=None,
        description="Whether the GPUs are passed in (`--nv`); left out, where the job asks for GPUs.",
        examples=[True],
    )
    binds: Lines = Field(
        default=(),
        description="Directories passed in, as `source[:target[:options]]`.",
        examples=[["/scratch:/data:ro"]],
    )
    options: Lines = Field(default=(), description="Further options of `apptainer exec`.", examples=[["--cleanenv"]])

    @model_validator(mode="before")
    @classmethod
    def _from_image(cls, data: Any) -> Any:
        return {"image": data} if isinstance(data, str) else data
