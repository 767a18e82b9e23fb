"""Providers in the settings: every mistake at once with its key; who serves which zone; who has credentials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpcfrugal.carbon.listing import listing
from hpcfrugal.carbon.select import choices
from hpcfrugal.carbon.series import Kind, Signal
from hpcfrugal.carbon.settings import configured, kinds, provider_class
from hpcfrugal.config import Config, load_config
from hpcfrugal.errors import ForecastError, InputError


@pytest.fixture
def environ(home: Path) -> dict[str, str]:
    return {"HOME": str(home)}


def config(environ: dict[str, str], text: str = "") -> Config:
    (Path(environ["HOME"]) / ".config/hpcfrugal/config.toml").write_text(text)
    return load_config(environ)


def test_what_is_set(environ: dict[str, str]) -> None:
    text = """
        [carbon]
        zone = "FR"
        provider = "mine"
        [forecasts.mine]
        kind = "file"
        path = "~/x.csv"
        zone = "FR"
        [forecasts.electricitymaps]
        token_file = "~/token"
        refresh = "1h30m"
    """
    made = config(environ, text)
    assert (made.carbon_zone, made.carbon_provider) == ("FR", "mine")
    found = configured(made)
    assert found["mine"].options["path"].startswith("/")
    assert found["electricitymaps"].kind == "electricitymaps"
    assert found["electricitymaps"].refresh is not None
    assert load_config({**environ, "HPCFRUGAL_ZONE": "DE", "HPCFRUGAL_PROVIDER": "x"}).carbon_zone == "DE"


def test_all_mistakes_at_once(environ: dict[str, str]) -> None:
    text = """
        [forecasts.a]
        kind = "eletricitymaps"
        [forecasts.b]
        kind = "file"
        pth = "x"
        zone = "a'; rm -rf ~ #"
        [forecasts.c]
        kind = "watttime"
        url = "https://alice:secret@example.org"
        refresh = "1 year"
        token_file = "token"
        region = 3
        [forecasts.d]
        [forecasts.e]
        kind = ["file"]
        [forecasts.f]
        kind = "file"
        path = "here.csv"
    """
    with pytest.raises(InputError) as caught:
        configured(config(environ, text))
    problems = {problem.where.rpartition(": ")[2]: problem for problem in caught.value.problems}
    assert set(problems) == {
        "forecasts.a.kind", "forecasts.b.pth", "forecasts.b.path", "forecasts.b.zone", "forecasts.c.url",
        "forecasts.c.refresh", "forecasts.c.token_file", "forecasts.c.region", "forecasts.d.kind", "forecasts.e.kind",
        "forecasts.f.path",
    }  # fmt: skip
    assert problems["forecasts.a.kind"].hint == "did you mean electricitymaps?"
    assert problems["forecasts.b.pth"].hint == "did you mean path?"
    assert "secret" not in caught.value.message
    assert all("config.toml" in problem.where for problem in caught.value.problems)


@pytest.mark.parametrize("url", ["ftp://x", "https://", "x", 3, "https://[", "http://x:0"])
def test_addresses_that_are_none(environ: dict[str, str], url: object) -> None:
    with pytest.raises(InputError, match="needs an address"):
        configured(config(environ, f"[forecasts.watttime]\nurl = {json.dumps(url)}\n"))


def test_a_zone_that_is_no_name(environ: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"carbon\.zone: needs a name"):
        config(environ, '[carbon]\nzone = "not a zone"\n')


def test_every_kind_can_be_had() -> None:
    for kind in kinds():
        made = provider_class(kind)
        assert made is not None
        assert made.kind == kind
        assert made.signals
        assert made.about
    assert provider_class("nothing") is None


@pytest.mark.parametrize(
    ("zone", "signal", "kind", "names"),
    [
        ("GB", "average", "forecast", ["carbonintensity-gb", "electricitymaps"]),
        ("GB-RG10", "average", "actual", ["carbonintensity-gb", "electricitymaps"]),
        ("FR", "average", "forecast", ["energy-charts", "electricitymaps"]),
        ("FR", "average", "actual", ["energy-charts", "rte-eco2mix", "electricitymaps"]),
        ("US-CAL-CISO", "average", "forecast", ["electricitymaps"]),
        ("CAISO_NORTH", "marginal", "forecast", ["watttime"]),
    ],
)
def test_whom_a_zone_leads_to(environ: dict[str, str], zone: str, signal: Signal, kind: Kind, names: list[str]) -> None:
    tokens = {"ELECTRICITYMAPS_TOKEN": "t", "WATTTIME_USER": "u", "WATTTIME_PASSWORD": "p"}
    found = choices(config(environ), zone, signal, kind, environ=environ | tokens)
    assert [choice.settings.name for choice in found] == names
    without = [name for name in names if name not in ("electricitymaps", "watttime")]
    if without:
        found = choices(config(environ), zone, signal, kind, environ=environ)
        assert [choice.settings.name for choice in found] == without
    else:
        with pytest.raises(ForecastError, match="nobody tells"):
            choices(config(environ), zone, signal, kind, environ=environ)


def test_the_settings_go_before_what_is_built_in(environ: dict[str, str]) -> None:
    text = '[forecasts.mine]\nkind = "file"\npath = "/x"\nzone = "GB"\n[forecasts.other]\nkind = "energy-charts"\n'
    made = config(environ, text)
    assert [one.settings.name for one in choices(made, "gb", "average", "forecast", environ=environ)] == ["mine"]
    assert [one.settings.name for one in choices(made, "FR", "average", "forecast", environ=environ)] == ["other"]
    assert [one.settings.name for one in choices(made, "GB-3", "average", "forecast", environ=environ)] == [
        "carbonintensity-gb"
    ]


def test_who_is_listed_with_which_credentials(environ: dict[str, str]) -> None:
    token = Path(environ["HOME"]) / "token"
    token.write_text("s3cret")
    token.chmod(0o640)
    text = f'[forecasts.mine]\nkind = "entsoe"\ntoken_file = "{token}"\n'
    lines = listing(config(environ, text), environ | {"ELECTRICITYMAPS_TOKEN": "s3cret"})
    by_name = {line.name: line for line in lines}
    assert lines[0].name == "mine"
    assert "entsoe" not in by_name
    assert by_name["mine"].state == "wrong"
    assert "chmod 600" in by_name["mine"].credentials
    assert (by_name["electricitymaps"].state, by_name["electricitymaps"].credentials) == (
        "ok", "from ELECTRICITYMAPS_TOKEN",
    )  # fmt: skip
    assert by_name["watttime"].state == "none"
    assert "WATTTIME_USER and WATTTIME_PASSWORD" in by_name["watttime"].credentials
    assert by_name["file"].state == "none"
    assert by_name["rte-eco2mix"].tells == ("actual",)
    assert "s3cret" not in json.dumps([line.as_json() for line in lines])
