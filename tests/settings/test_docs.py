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
    rows = re.findall(
        r"^\| `([a-z.]+)` \| `([A-Z_]+)` \| (.+) \| (.+) \|$", (DOCS / "configuration.md").read_text(), re.M
    )
    assert [(key, variable, what) for key, variable, _, what in rows] == [
        (".".join(keys), variable_of(field), field.description) for keys, field in settings()
    ]
    for (_, field), (key, _, default, _) in zip(settings(), rows, strict=True):
        if not field.is_required() and field.default_factory is None:
            assert default == ("none" if field.default is None else f"`{field.default}`"), key


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
    keys = set(model.model_fields) - {"name"}
    assert keys
    assert keys - set(re.findall(r"^(?:# )?(\w+) = ", examples, re.M)) == set()
