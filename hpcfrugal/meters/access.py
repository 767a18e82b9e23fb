"""How to reach the server of a meter: its URL, its credentials, and the requests to it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hpcfrugal.core.errors import SourceError, Unreachable
from hpcfrugal.core.http import Client
from hpcfrugal.core.secrets import Secret, SecretLocation

if TYPE_CHECKING:
    import ssl

_LONG_QUERY = 1500
"""Above this many characters a query goes into the body: servers and proxies limit the URL, some to 2 kB."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a server: its URL, the credentials, and the authorities that its certificate is checked against."""

    url: str
    timeout_s: float = 10.0
    token: SecretLocation | None = None
    user: str | None = None
    password: SecretLocation | None = None
    ca_file: Path | None = None
    verify: bool = True

    @property
    def host(self) -> str:
        """The server, as a message names it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


class MeterClient:
    """Asks one server, with its credentials; each request ends within ``Access.timeout_s``."""

    def __init__(self, access: Access) -> None:
        self._access = access
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

        Raises ``SourceError``, ``Unreachable`` where the next request would fail too.
        """
        if self._client is None:
            self._login = _login(self._access)
            self._client = Client(0.0, verify=_verify(self._access))
        self._client.deadline = time.monotonic() + self._access.timeout_s
        form = may_post and sum(map(len, (params or {}).values())) > _LONG_QUERY
        url = self._access.url + path
        try:
            return self._client.get(url, params=params, form=form, error_key=error_key, **self._login).data
        except SourceError as error:
            if isinstance(error, Unreachable):
                self.close()
            raise type(error)(f"{self._access.host}: {error.message}", hint=error.hint) from None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _login(access: Access) -> dict[str, Any]:
    """The arguments of ``Client.get`` that carry the credentials. Raises ``SourceError``."""
    if access.token is not None:
        token = access.token.read()
        return {"headers": {"Authorization": f"Bearer {token.values[0]}"}, "secret": token}
    if access.user is not None and access.password is not None:
        password = access.password.read()
        return {"basic": Secret((access.user, *password.values), password.origin)}
    return {}


def _verify(access: Access) -> ssl.SSLContext | bool:
    import ssl

    if not access.verify or not access.url.startswith("https:"):
        return False
    try:
        # The system's own list of authorities, to which sites add theirs.
        return ssl.create_default_context(cafile=access.ca_file and str(access.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise SourceError(f"{access.ca_file}: not a file of certificates: {error}") from None
