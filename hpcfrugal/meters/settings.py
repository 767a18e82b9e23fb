"""Power meters: the tables ``[meters.NAME]`` of the settings. docs/meters.md describes the keys.

A kind of meter is a model of its keys with a method ``meter``, listed in ``KINDS``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, ValidationInfo, field_validator

from hpcfrugal.core.errors import Problem, did_you_mean
from hpcfrugal.core.http import is_loopback
from hpcfrugal.core.secrets import SecretLocation
from hpcfrugal.meters.access import Access
from hpcfrugal.meters.base import Meter, PowerSource, Terms
from hpcfrugal.meters.ipmi_dcmi import SOURCE as IPMI_DCMI
from hpcfrugal.meters.ipmi_dcmi import IpmiDcmi
from hpcfrugal.meters.kwollect import Kwollect
from hpcfrugal.meters.powerlog import PowerLog
from hpcfrugal.meters.prometheus import Prometheus
from hpcfrugal.meters.redfish import SOURCE as REDFISH
from hpcfrugal.meters.redfish import Redfish
from hpcfrugal.settings.section import Mistakes, NamedSection, NamedTable, read_table, read_tables
from hpcfrugal.settings.values import AbsolutePath, Nodes, Text, Url, Words, duration, number, url_of, whole_number

_FILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")

Unit = Literal["W", "kW", "J", "kJ", "Wh", "kWh"]


@dataclass(frozen=True, slots=True)
class ConfiguredMeter:
    """A meter; and if an agent keeps a log of it, the source that the agent reads and the folder that it writes to.

    ``here``: the source knows only the machine that it runs on. ``owner_uid``: the user whose log is read.
    """

    meter: Meter
    source: PowerSource | None = None
    log: Path | None = None
    here: bool = False
    owner_uid: int | None = None


def _ns(span: timedelta) -> int:
    return span // timedelta(microseconds=1) * 1000


class MeterSettings(NamedSection):
    """The keys of every meter."""

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

    def terms(self) -> Terms:
        """How the meter's samples are to be taken."""
        return Terms(_ns(self.step), _ns(self.max_gap or 3 * self.step), self.max_power_w, _ns(self.settle))

    def configured(self) -> ConfiguredMeter:
        """The meter of these settings."""
        raise NotImplementedError


class ServerSettings(MeterSettings):
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


class PrometheusSettings(ServerSettings):
    """``kind = "prometheus"``."""

    url: Url = Field(examples=["https://prometheus.example.org"])
    unit: Unit = "W"
    node_label: Text | None = None
    """Label that tells nodes apart in an answer for several; None: one query a node."""
    query: Text = Field(examples=["'ipmi_dcmi_power_consumption_watts{instance=\"{node}\"}'"])

    @field_validator("query", mode="after")
    @classmethod
    def _names_nodes(cls, query: str, info: ValidationInfo) -> str:
        found = []
        wanted, other = ("{node}", "{nodes}") if info.data.get("node_label") is None else ("{nodes}", "{node}")
        if wanted not in query or other in query:
            hint = '{node} for one node a query; {nodes} with node_label = "LABEL" for several'
            found.append(Problem("", f"needs {wanted} where the node's name goes, and no {other}", hint))
        if "`" in query:
            found.append(Problem("", "has a string in backticks, in which no name can be quoted", "use double quotes"))
        if found:
            raise Mistakes(*found)
        return query

    def configured(self) -> ConfiguredMeter:
        """A query to a server."""
        access, terms = self.access(), self.terms()
        return ConfiguredMeter(
            Prometheus(self.name, access, self.query, self.unit, self.node_label, self.nodes, self.cluster, terms)
        )


class KwollectSettings(ServerSettings):
    """``kind = "kwollect"``."""

    url: Url = Field(examples=["https://api.grid5000.fr/stable/sites/lyon/metrics"])
    metric: Text = "wattmetre_power_watt"
    unit: Unit = "W"

    def configured(self) -> ConfiguredMeter:
        """A metric of Grid'5000."""
        access, terms = self.access(), self.terms()
        return ConfiguredMeter(Kwollect(self.name, access, self.metric, self.unit, self.nodes, self.cluster, terms))


def _uid_of(value: Any) -> int:
    """The uid of a user's name or number."""
    if type(value) is int and 0 <= value < 2**32:
        return value
    if not isinstance(value, str):
        raise ValueError("needs a user's name or number")
    import pwd

    try:
        return pwd.getpwnam(value).pw_uid
    except (KeyError, ValueError):
        raise ValueError(f"is not a user of this machine: {value[:40]!r}") from None


class LoggedSettings(MeterSettings):
    """The keys of a meter that an agent reads all the time; its samples are kept in ``log``."""

    log: AbsolutePath = Field(examples=["/var/lib/hpcfrugal/power"])
    owner: Annotated[int, BeforeValidator(_uid_of)] = 0
    """User whose log is read: root unless another is set."""

    def logged(self, source: PowerSource, *, here: bool) -> ConfiguredMeter:
        """The meter that reads the agent's log of a source."""
        meter = PowerLog(self.name, source.source, self.log, self.owner, self.nodes, self.cluster, self.terms())
        return ConfiguredMeter(meter, source, self.log, here, self.owner)


class IpmiDcmiSettings(LoggedSettings):
    """``kind = "ipmi-dcmi"``."""

    timeout: Annotated[timedelta, duration(0.1, 300, "s")] = timedelta(seconds=10)
    command: Words | None = None
    """Prints the power of a node; with ``{node}`` in it, of any of ``nodes``."""

    @field_validator("command", mode="after")
    @classmethod
    def _has_nodes(cls, command: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if not cls._is_here(command) and info.data.get("nodes", ()) is None:
            raise Mistakes(Problem("nodes", "is missing: nodes whose BMC is asked", 'for example "n[1-100]"'))
        return command

    @staticmethod
    def _is_here(command: tuple[str, ...] | None) -> bool:
        return command is None or not any("{node}" in word for word in command)

    def configured(self) -> ConfiguredMeter:
        """The BMC of this machine, or those of others by a command."""
        source = IpmiDcmi(self.command, self.timeout.total_seconds())
        return self.logged(source, here=self._is_here(self.command))


def _url_of_node(value: Any) -> str:
    url = url_of(value, placeholder="{node}")
    if "{node}" not in url:
        raise Mistakes(Problem("", "needs {node} where the node's name goes", "for example https://{node}-bmc"))
    return url


class RedfishSettings(LoggedSettings, ServerSettings):
    """``kind = "redfish"``."""

    nodes: Nodes = Field(examples=['"n[1-100]"'])
    url: Annotated[str, BeforeValidator(_url_of_node)] = Field(examples=["https://{node}-bmc"])
    chassis: Text | None = None
    """Id of the chassis, where several have a power reading."""
    power_control: Annotated[int, whole_number(0, 999)] | None = None
    """Index of the reading in ``PowerControl``, where there are several."""

    def configured(self) -> ConfiguredMeter:
        """The BMCs of nodes over the management network."""
        return self.logged(Redfish(self.access(), self.chassis, self.power_control), here=False)


KINDS: Mapping[str, type[MeterSettings]] = {
    "prometheus": PrometheusSettings,
    "kwollect": KwollectSettings,
    IPMI_DCMI: IpmiDcmiSettings,
    REDFISH: RedfishSettings,
}


def read_meters(tables: Mapping[str, NamedTable]) -> dict[str, ConfiguredMeter]:
    """The meters of the settings by name, in the order of the files.

    Raises:
        InputError: every mistake in every table.
    """
    return read_tables(tables, _read)


def _read(table: NamedTable, problems: list[Problem]) -> ConfiguredMeter | None:
    kind = table.values.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        what = "is missing" if kind is None else f"is not a kind of meter: {str(kind)[:40]!r}"
        problems.append(Problem(str(table.origin.below("kind")), what, did_you_mean(str(kind)[:40], KINDS)))
        return None
    section = read_table(model, table, problems)
    return None if section is None else section.configured()
