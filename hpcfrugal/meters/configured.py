"""What all meters of the settings have in common: the keys of ``[meters.NAME]``. docs/meters.md describes them.

A meter is a model of its keys that also reads the power; adding a key is adding a field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, StrictBool, ValidationInfo, field_validator

from hpcfrugal.core.errors import Problem
from hpcfrugal.core.http import is_loopback
from hpcfrugal.core.secrets import SecretLocation
from hpcfrugal.meters.access import Access
from hpcfrugal.meters.base import MeterAnswer, Terms
from hpcfrugal.settings.section import Mistakes, NamedSection
from hpcfrugal.settings.values import AbsolutePath, Nodes, Text, Url, duration, number

_FILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


def _ns(span: timedelta) -> int:
    return span // timedelta(microseconds=1) * 1000


class ConfiguredMeter(NamedSection):
    """A table ``[meters.NAME]``: the keys of every meter."""

    what = "this kind of meter"

    kind: str
    nodes: Nodes | None = Field(default=None, examples=['"n[1-100]"'])
    """Nodes that have the meter; None: all."""
    cluster: Text | None = None
    """Only jobs of this cluster; None: of any."""
    step: Annotated[timedelta, duration(0.001, 3600, "s")] = timedelta(seconds=10)
    """Usual time between two samples."""
    max_gap: Annotated[timedelta, duration(0.001, 86_400, "s")] | None = None
    """Samples farther apart are not bridged; None: three steps."""
    max_power_w: Annotated[float, number(1, 10_000_000)] = 20_000.0
    """A power above this is not a reading."""
    settle: Annotated[timedelta, duration(0, 7 * 86_400, "s")] = timedelta(minutes=10)
    """How long after a job's end its last samples may arrive."""

    @field_validator("name")
    @classmethod
    def _fits_a_file_name(cls, name: str) -> str:
        if _FILE_NAME.fullmatch(name) is None:
            raise ValueError('has a name that does not fit a file name: use 1 to 40 letters, digits, "_" and "-"')
        return name

    @property
    def source(self) -> str:
        """The kind, which is shown beside each figure."""
        return self.kind

    @property
    def detail(self) -> str:
        """See ``Meter.detail``."""
        raise NotImplementedError

    @property
    def terms(self) -> Terms:
        """How the meter's samples are to be taken."""
        return Terms(_ns(self.step), _ns(self.max_gap or 3 * self.step), self.max_power_w, _ns(self.settle))

    def fetch(self, nodes: Sequence[str], start_ns: int, end_ns: int) -> Mapping[str, MeterAnswer]:
        """See ``Meter.fetch``."""
        raise NotImplementedError


class ServerMeter(ConfiguredMeter):
    """The keys of a meter that is asked over HTTP."""

    refused = {  # noqa: RUF012
        "token": ("must not be in a settings file", "use token_file or token_env"),
        "password": ("must not be in a settings file", "use password_file or password_env"),
    }

    url: Url
    timeout: Annotated[timedelta, duration(0.1, 300, "s")] = timedelta(seconds=10)
    ca_file: AbsolutePath | None = None
    tls_verify: StrictBool = True
    token_file: AbsolutePath | None = None
    token_env: Text | None = None
    user: Text | None = None
    password_file: AbsolutePath | None = None
    password_env: Annotated[Text | None, Field(validate_default=True)] = None

    @field_validator("password_env", mode="after")
    @classmethod
    def _fit_together(cls, password_env: str | None, info: ValidationInfo) -> str | None:
        given = {key: value for key, value in (info.data | {"password_env": password_env}).items() if value is not None}
        found = []
        for secret in ("token", "password"):
            if f"{secret}_env" in given and f"{secret}_file" in given:
                found.append(Problem(f"{secret}_env", f"cannot be combined with {secret}_file"))
        has_password = "password_file" in given or password_env is not None
        has_token = "token_file" in given or "token_env" in given
        if "user" in given and not has_password:
            found.append(Problem("password_file", "is missing: a user and a password go together"))
        if "user" not in given and has_password:
            found.append(Problem("user", "is missing: a user and a password go together"))
        if "user" in given and has_token:
            found.append(Problem("token_file", "cannot be combined with user"))
        url = given.get("url", "")
        if url.startswith("http://") and (has_password or has_token) and not is_loopback(url):
            found.append(Problem("url", "sends credentials without encryption", "use https://"))
        if found:
            raise Mistakes(*found)
        return password_env

    @property
    def access(self) -> Access:
        """How to reach the server."""
        return Access(
            self.url,
            self.timeout.total_seconds(),
            _secret(self.token_env, self.token_file),
            self.user,
            _secret(self.password_env, self.password_file),
            self.ca_file,
            self.tls_verify,
        )


def _secret(variable: str | None, file: Path | None) -> SecretLocation | None:
    return None if variable is None and file is None else SecretLocation(variable, file)
