"""Mail that Slurm sends about a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import model_validator

from hpcfrugal.job.sbatch_options import SbatchOption
from hpcfrugal.job.section import JobSection, optional
from hpcfrugal.job.text_types import CommaList, TextLine


class Mail(JobSection):
    """An address alone (`mail: me@example.org`, at the end and on failure), events alone, or a mapping of both."""

    type: Annotated[CommaList | None, SbatchOption("mail-type")] = optional(
        "Events to send mail at.", "END,FAIL", ["END", "TIME_LIMIT_80"]
    )
    user: Annotated[TextLine | None, SbatchOption("mail-user")] = optional(
        "Address, or user name; by default you.", "me@example.org"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, data: Any) -> Any:
        if isinstance(data, str) and "@" in data:
            return {"type": "END,FAIL", "user": data}
        return data if data is None or isinstance(data, Mapping | Mail) else {"type": data}
