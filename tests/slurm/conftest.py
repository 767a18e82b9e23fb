"""Fixtures of the tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from compiled import kept


@pytest.fixture(autouse=True, scope="package")
def _compiled_once() -> Iterator[None]:
    with kept():
        yield
