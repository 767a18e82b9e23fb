"""Meters behind a server: how to reach it, and the requests to it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hpcfrugal.core.errors import SourceError, Unreachable
from hpcfrugal.core.http import Client, is_loopback
from hpcfrugal.core.secrets import Secret, read_secret
from hpcfrugal.core.section import Fault, optional, required
from hpcfrugal.meters.base import Meter
from hpcfrugal.settings.values import AbsolutePath, SingleLine, TrueOrFalse, Url, time_span

if TYPE_CHECKING:
    import ssl

_LONG_QUERY = 1500
"""Longer queries, in characters, go into the body: servers and proxies limit the URL, some to 2 kB."""


class ServerMeter(Meter):
    """A meter that is asked over HTTP: its URL, its credentials, the authorities that its certificate is checked by."""

    refused = {  # noqa: RUF012
        "token": ("must not be in a settings file", "use token_file or token_env"),
        "password": ("must not be in a settings file", "use password_file or password_env"),
    }

    url: str = required(Url)
    timeout: timedelta = optional(time_span(0.1, 300, "s"), default=timedelta(seconds=10))
    ca_file: Path | None = optional(AbsolutePath)
    tls_verify: bool = optional(TrueOrFalse, default=True)
    token_file: Path | None = optional(AbsolutePath)
    token_env: str | None = optional(SingleLine)
    user: str | None = optional(SingleLine)
    password_file: Path | None = optional(AbsolutePath)
    password_env: str | None = optional(SingleLine)

    def contradictions(self) -> list[Fault]:
        """Credentials that do not fit together, or would be sent without encryption."""
        found = super().contradictions()
        for secret in ("token", "password"):
            if getattr(self, f"{secret}_env") is not None and getattr(self, f"{secret}_file") is not None:
                found.append(Fault((f"{secret}_env",), f"cannot be combined with {secret}_file"))
        has_password = self.password_file is not None or self.password_env is not None
        has_token = self.token_file is not None or self.token_env is not None
        if (self.user is None) == has_password:
            missing = "user" if self.user is None else "password_file"
            pair = (("user",), ("password_file",), ("password_env",))
            found.append(Fault((missing,), "is missing: a user and a password go together", None, pair))
        if self.user is not None and has_token:
            found.append(Fault(("token_file",), "cannot be combined with user"))
        url = self.url or ""
        if url.startswith("http://") and (has_password or has_token) and not is_loopback(url):
            found.append(Fault(("url",), "sends credentials without encryption", "use https://"))
        return found

    @property
    def host(self) -> str:
        """The server, as a message names it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


class MeterClient:
    """Sends requests to a meter's server, or to another one at ``url``, each with the meter's ``timeout``."""

    def __init__(self, meter: ServerMeter, url: str | None = None) -> None:
        self._meter = meter if url is None else meter.changed(url=url)
        self._client: Client | None = None
        self._login: dict[str, Any] = {}

    def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        error_key: str | None = None,
        may_post: bool = False,
    ) -> Any:
        """The JSON at ``path`` below the server's URL. ``may_post`` sends long parameters in the body.

        Raises ``SourceError``, or ``Unreachable`` if the next request would fail too.
        """
        if self._client is None:
            self._login = _login(self._meter)
            self._client = Client(0.0, verify=_verify(self._meter))
        self._client.deadline = time.monotonic() + self._meter.timeout.total_seconds()
        form = may_post and sum(map(len, (params or {}).values())) > _LONG_QUERY
        url = self._meter.url + path
        try:
            return self._client.get(url, params=params, form=form, error_key=error_key, **self._login).data
        except SourceError as error:
            if isinstance(error, Unreachable):
                self.close()
            raise type(error)(f"{self._meter.host}: {error.message}", hint=error.hint) from None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _login(meter: ServerMeter) -> dict[str, Any]:
    """The arguments of ``Client.get`` that carry the credentials. Raises ``SourceError``."""
    if meter.token_file is not None or meter.token_env is not None:
        token = read_secret(meter.token_env, meter.token_file)
        return {"headers": {"Authorization": f"Bearer {token.values[0]}"}, "secret": token}
    if meter.user is not None:
        password = read_secret(meter.password_env, meter.password_file)
        return {"basic": Secret((meter.user, *password.values), password.origin)}
    return {}


def _verify(meter: ServerMeter) -> ssl.SSLContext | bool:
    import ssl

    if not meter.tls_verify or not meter.url.startswith("https:"):
        return False
    try:
        # The system's list of authorities, to which sites may have added their own.
        return ssl.create_default_context(cafile=meter.ca_file and str(meter.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise SourceError(f"{meter.ca_file}: not a file of certificates: {error}") from None
