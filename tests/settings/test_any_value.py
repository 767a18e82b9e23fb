"""Whatever a settings file holds in a key, it is read or refused with a sentence."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

import pytest

from hpcfrugal.carbon.settings import BUILT_IN, provider_class
from hpcfrugal.core.section import Section
from hpcfrugal.meters.settings import KINDS
from hpcfrugal.queues.settings import Queue
from hpcfrugal.report.method_settings import GreenAlgorithmsSettings
from hpcfrugal.settings.config import Config
from hpcfrugal.settings.idle_power import NodeSettings
from hpcfrugal.settings.section import settings_of

VALUES = (
    True, 0, -1, 1.5, float("inf"), float("nan"), "", "x", "\0", "{node}", "http://[", "~no-such-user/x", "9" * 400,
    date(2026, 1, 1), time(1), datetime(2026, 1, 1), [], ["a"], [1, 2], [[]], {}, {"a": 1}, {"2026-13": 1}, {"": {}},
)  # fmt: skip
PROVIDERS = {made.settings_model for kind in BUILT_IN if (made := provider_class(kind)) is not None}
SECTIONS = sorted([Config, GreenAlgorithmsSettings, NodeSettings, Queue, *KINDS.values(), *PROVIDERS], key=str)


@pytest.mark.parametrize("section", SECTIONS)
def test_any_value_is_read_or_refused_with_a_sentence(section: type[Section]) -> None:
    refused = 0
    for path, _ in settings_of(section):
        for value in VALUES:
            data: Any = value
            for part in reversed(path):
                data = {part: data}
            for fault in section.checked(data)[1]:
                assert fault.what.strip()
                refused += fault.path[: len(path)] == path
    assert refused > len(section.known_keys)
