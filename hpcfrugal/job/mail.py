"""Mail that Slurm sends about a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpcfrugal.core.section import optional
from hpcfrugal.job.sbatch_options import SbatchOption
from hpcfrugal.job.section import JobSection
from hpcfrugal.job.text_types import CommaList, TextLine


class Mail(JobSection):
    """An address alone (`mail: me@example.org`, at the end and on failure), events alone, or a mapping of both."""

    type: str | None = optional(
        CommaList, "Events to send mail at.", "END,FAIL", ["END", "TIME_LIMIT_80"], marks=[SbatchOption("mail-type")]
    )
    user: str | None = optional(
        TextLine, "Address, or user name; by default you.", "me@example.org", marks=[SbatchOption("mail-user")]
    )

    @classmethod
    def written_out(cls, values: Any) -> Any:
        """An address alone, or events alone."""
        if isinstance(values, str) and "@" in values:
            return {"type": "END,FAIL", "user": values}
        return values if isinstance(values, Mapping) else {"type": values}
