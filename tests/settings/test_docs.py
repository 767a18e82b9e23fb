"""The documentation names every setting, with what its model says of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpcfrugal.carbon.settings import BUILT_IN, provider_class
from hpcfrugal.queues.settings import Queue
from hpcfrugal.settings.config import settings, variable_of
from hpcfrugal.settings.idle_power import NodeSettings
from hpcfrugal.settings.section import NamedSection

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_of_keys_is_that_of_the_model() -> None:
    rows = table_after("| key | environment | default | what it is |\n", (DOCS / "configuration.md").read_text())
    assert [(key, variable, what) for key, variable, _, what in rows] == [
        (code(".".join(keys)), code(variable_of(field), ""), field.description) for keys, field in settings()
    ]
    for (_, field), (key, _, default, _) in zip(settings(), rows, strict=True):
        if not field.required and key != "`sidecar.python`":
            assert default == code(field.default), key


def table_after(header: str, text: str) -> list[list[str]]:
    """The cells of each row of the table with this header."""
    _, found, rest = text.partition(header)
    assert found
    rows = rest.partition("\n\n")[0].splitlines()[1:]
    assert rows
    return [row.removeprefix("| ").removesuffix(" |").split(" | ") for row in rows]


def code(value: object, missing: str = "none") -> str:
    return missing if value is None else f"`{value}`"


PROVIDERS = [made.settings_model for kind in BUILT_IN if (made := provider_class(kind)) is not None]


@pytest.mark.parametrize(
    ("model", "file"),
    [
        (Queue, "queues.md"),
        (NodeSettings, "configuration.md"),
        *((model, "carbon.md") for model in dict.fromkeys(PROVIDERS)),
    ],
)
def test_every_key_of_a_named_table_is_in_an_example(model: type[NamedSection], file: str) -> None:
    examples = "".join(re.findall(r"```toml\n(.*?)```", (DOCS / file).read_text(), re.DOTALL))
    keys = set(model.known_keys) - {"name"}
    assert keys
    assert keys - set(re.findall(r"^(?:# )?(\w+) = ", examples, re.M)) == set()
