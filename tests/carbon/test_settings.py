"""Providers in the settings: every mistake at once with its key; who serves which zone; who has credentials."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from hpcfrugal.carbon.listing import listing
from hpcfrugal.carbon.select import select
from hpcfrugal.carbon.series import SeriesKind
from hpcfrugal.carbon.settings import kinds, provider_class, read_providers
from hpcfrugal.core.carbon_signal import Signal
from hpcfrugal.core.errors import InputError
from hpcfrugal.settings.config import Config, load_config


@pytest.fixture
def environ(home: Path) -> dict[str, str]:
    return {"HOME": str(home)}


def config(environ: dict[str, str], text: str = "") -> Config:
    (Path(environ["HOME"]) / ".config/hpcfrugal/config.toml").write_text(text)
    return load_config(environ)


def asked(config: Config, zone: str, signal: Signal, kind: SeriesKind) -> tuple[list[str], list[str]]:
    """The names of the providers that can be asked, and the messages about those that cannot."""
    found = select(config, zone, signal, kind)
    assert not found.unserved
    return [choice.settings.name for choice in found.choices], [error.message for error in found.failed]


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
    assert (made.carbon.zone, made.carbon.provider) == ("FR", "mine")
    found = read_providers(made.tables("forecasts"))
    assert found["mine"].own == {"path": Path("~/x.csv").expanduser(), "timezone": None, "column": None}
    assert found["electricitymaps"].kind == "electricitymaps"
    assert found["electricitymaps"].refresh is not None
    assert load_config({**environ, "HPCFRUGAL_ZONE": "DE", "HPCFRUGAL_PROVIDER": "x"}).carbon.zone == "DE"


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
        read_providers(config(environ, text).tables("forecasts"))
    problems = {problem.where.rpartition(": ")[2]: problem for problem in caught.value.problems}
    assert set(problems) == {
        "forecasts.a.kind", "forecasts.b.pth", "forecasts.b.path", "forecasts.b.zone", "forecasts.c.url",
        "forecasts.c.refresh", "forecasts.c.token_file", "forecasts.c.region", "forecasts.d.kind", "forecasts.e.kind",
        "forecasts.f.path",
    }  # fmt: skip
    assert problems["forecasts.a.kind"].hint == "did you mean electricitymaps?"
    assert problems["forecasts.b.pth"].hint == "did you mean path?"
    assert "secret" not in caught.value.message
    assert all(re.search(r"config\.toml:\d+: ", problem.where) for problem in caught.value.problems)


@pytest.mark.parametrize("url", ["ftp://x", "https://", "x", 3, "https://[", "http://x:0"])
def test_invalid_urls(environ: dict[str, str], url: object) -> None:
    with pytest.raises(InputError, match="needs a URL"):
        read_providers(config(environ, f"[forecasts.watttime]\nurl = {json.dumps(url)}\n").tables("forecasts"))


def test_invalid_choices(environ: dict[str, str]) -> None:
    text = '[forecasts.electricitymaps]\nhorizon_hours = 36\nemission_factor_type = "lifecyle"\n'
    with pytest.raises(InputError) as caught:
        read_providers(config(environ, text).tables("forecasts"))
    assert [(one.what, one.hint) for one in caught.value.problems] == [
        ("needs one of 6, 24, 48, 72", None),
        ("needs one of lifecycle, direct", "did you mean lifecycle?"),
    ]


def test_an_invalid_zone_name(environ: dict[str, str]) -> None:
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
        ("GB", "average", "actual", ["carbonintensity-gb", "electricitymaps"]),
        ("GB-RG10", "average", "forecast", ["carbonintensity-gb", "electricitymaps"]),
        ("GB-RG10", "average", "actual", ["electricitymaps"]),
        ("FR", "average", "forecast", ["energy-charts", "electricitymaps"]),
        ("FR", "average", "actual", ["energy-charts", "rte-eco2mix", "electricitymaps"]),
        ("US-CAL-CISO", "average", "forecast", ["electricitymaps"]),
        ("US-CAL-CISO", "average", "actual", ["electricitymaps", "eia"]),
        ("CAISO_NORTH", "marginal", "forecast", ["watttime"]),
        ("DK1", "average", "forecast", ["energinet", "energy-charts"]),
        ("DK-DK1", "average", "actual", ["energinet", "electricitymaps", "energy-charts"]),
        ("DK", "average", "forecast", ["energy-charts", "electricitymaps"]),
        # One that has the zone itself comes before one that has the whole country.
        ("SE-SE3", "average", "forecast", ["electricitymaps", "energy-charts"]),
    ],
)
def test_providers_of_a_zone(
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    zone: str,
    signal: Signal,
    kind: SeriesKind,
    names: list[str],
) -> None:
    with monkeypatch.context() as patch:
        for name in ("ELECTRICITYMAPS_TOKEN", "EIA_API_KEY", "WATTTIME_USER", "WATTTIME_PASSWORD"):
            patch.setenv(name, "x")
        assert asked(config(environ), zone, signal, kind) == (names, [])
    without = [name for name in names if name not in ("electricitymaps", "eia", "watttime")]
    if without:
        assert asked(config(environ), zone, signal, kind) == (without, [])
    else:
        found = select(config(environ), zone, signal, kind)
        assert found.unserved
        assert found.failed[0].message.startswith("no provider offers ")


def test_the_settings_go_before_what_is_built_in(environ: dict[str, str]) -> None:
    text = '[forecasts.mine]\nkind = "file"\npath = "/x"\nzone = "GB"\n[forecasts.other]\nkind = "energy-charts"\n'
    made = config(environ, text)
    for zone, name in (("gb", "mine"), ("FR", "other"), ("GB-3", "carbonintensity-gb")):
        assert asked(made, zone, "average", "forecast") == ([name], [])


def test_a_provider_without_credentials_is_noted_and_the_others_are_asked(environ: dict[str, str]) -> None:
    lacking, fine = '[forecasts.em]\nkind = "electricitymaps"\n', '[forecasts.ec]\nkind = "energy-charts"\n'
    for text in (lacking + fine, fine + lacking):
        names, (trouble,) = asked(config(environ, text), "DE", "average", "forecast")
        assert names == ["ec"]
        assert trouble.startswith("em: no credentials found")
    # With settings, only what is set up for the zone.
    assert asked(config(environ, lacking), "DE", "average", "forecast") == ([], ["em: no credentials found"])


def test_a_file_of_credentials_that_others_can_read_stops_its_provider_only(environ: dict[str, str]) -> None:
    file = Path(environ["HOME"], ".config/hpcfrugal/credentials/electricitymaps")
    file.parent.mkdir(parents=True)
    file.write_text("t\n")
    file.chmod(0o644)
    names, (trouble,) = asked(config(environ), "GB", "average", "forecast")
    assert names == ["carbonintensity-gb"]
    assert "can be read by others" in trouble
    names, (trouble,) = asked(config(environ), "US-CAL-CISO", "average", "forecast")
    assert names == []
    assert "can be read by others" in trouble


def test_whether_there_are_actuals_depends_on_the_region(environ: dict[str, str]) -> None:
    made = config(environ, '[forecasts.mine]\nkind = "carbonintensity-gb"\nzone = "UK"\nregion = "GB-13"\n')
    found = select(made, "UK", "average", "actual", provider="mine")
    assert (found.choices, found.unserved, found.forecast_only) == ((), True, True)
    assert [error.message for error in found.failed] == ["mine: offers no actual average intensities for UK"]
    assert asked(made, "UK", "average", "forecast") == (["mine"], [])
    assert listing(made)[0].offers == ("forecast",)


def test_the_list_of_providers_and_credentials(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELECTRICITYMAPS_TOKEN", "s3cret")
    token = Path(environ["HOME"]) / "token"
    token.write_text("s3cret")
    token.chmod(0o640)
    text = f'[forecasts.mine]\nkind = "entsoe"\ntoken_file = "{token}"\n'
    lines = listing(config(environ, text))
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
    assert by_name["rte-eco2mix"].offers == ("actual",)
    assert by_name["energinet"].credentials == "not needed"
    for line in lines:
        assert line.zones, line.name
        assert line.offers, line.name
    assert "s3cret" not in json.dumps([asdict(line) for line in lines])
