"""Boards that speak Redfish, on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from meter_server import MeterServer, as_json

from hpcfrugal.core.errors import SourceError
from hpcfrugal.meters.redfish import Redfish

ROOT = "/redfish/v1/Chassis"


def board(server: MeterServer, tree: dict[str, Any]) -> None:
    """Serve resources; those of a chassis are listed in its collection."""
    members = [{"@odata.id": path} for path in tree if path.count("/") == 4]
    server.always(ROOT, answer=as_json({"Members": members, "Members@odata.count": len(members)}))
    for path, resource in tree.items():
        server.always(path, answer=as_json({"@odata.id": path, **resource}))


def chassis(name: str, **parts: Any) -> dict[str, Any]:
    """A chassis with a resource for each part, such as ``Power``."""
    path = f"{ROOT}/{name}"
    return {
        path: {"Id": name, **{part: {"@odata.id": f"{path}/{part}"} for part in parts}},
        **{f"{path}/{part}": resource for part, resource in parts.items()},
    }


def control(*watts: float | None) -> dict[str, Any]:
    return {"PowerControl": [{"MemberId": str(k), "PowerConsumedWatts": one} for k, one in enumerate(watts)]}


def metrics(watts: float | None) -> dict[str, Any]:
    return {"PowerWatts": {"DataSourceUri": "/redfish/v1/Chassis/1/Sensors/TotalPower", "Reading": watts}}


Opener = Callable[..., Redfish]


@pytest.fixture
def redfish(server: MeterServer) -> Iterator[Opener]:
    """Makes sources of the server, and closes them."""
    made: list[Redfish] = []

    def make(**changes: Any) -> Redfish:
        # Not checked: the settings want {node} in the URL, and here all nodes have one BMC.
        keys = {"name": "bmc", "kind": "redfish", "url": server.url, "timeout": timedelta(seconds=2)}
        made.append(Redfish.unchecked(**keys | changes))
        return made[-1]

    yield make
    for source in made:
        source.close()


def test_power_consumed(server: MeterServer, redfish: Opener) -> None:
    board(server, chassis("System.Embedded.1", Power=control(312)))
    source = redfish()
    assert source.power_w("n1") == 312.0
    asked = len(server.asked)
    assert source.power_w("n1") == 312.0
    assert len(server.asked) == asked + 1, "the way to the reading is known by now"


def test_environment_metrics_hide_the_older_place(server: MeterServer, redfish: Opener) -> None:
    board(server, chassis("1", EnvironmentMetrics=metrics(344.5), Power=control(340)))
    assert redfish().power_w("n1") == 344.5


def test_the_older_place_where_the_newer_has_nothing(server: MeterServer, redfish: Opener) -> None:
    board(server, chassis("1", EnvironmentMetrics={"TemperatureCelsius": {"Reading": 39}}, Power=control(340)))
    assert redfish().power_w("n1") == 340.0
    board(server, chassis("1", EnvironmentMetrics=metrics(None), Power=control(341)))
    assert redfish().power_w("n1") == 341.0


def test_several_readings_are_named_and_one_can_be_chosen(server: MeterServer, redfish: Opener) -> None:
    board(server, {**chassis("1", Power=control(340, 120, None)), **chassis("HGX_0", EnvironmentMetrics=metrics(2000))})
    with pytest.raises(SourceError) as caught:
        redfish().power_w("n1")
    assert "1 (PowerControl 0), 1 (PowerControl 1), HGX_0 (PowerWatts)" in str(caught.value)
    assert redfish(chassis="1", power_control=1).power_w("n1") == 120.0
    assert redfish(chassis="HGX_0").power_w("n1") == 2000.0
    with pytest.raises(SourceError, match="no chassis '2'"):
        redfish(chassis="2").power_w("n1")


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({}, "no chassis has a power reading"),
        (chassis("1", Power=control(None)), "no chassis"),
        (chassis("1", Power={"PowerControl": "x"}), "no chassis"),
        (chassis("1", Power=control(-4)), "no chassis"),
        (chassis("1", Power=control(0)), "no power reading .0 W."),
    ],
)
def test_bmcs_without_a_reading(server: MeterServer, redfish: Opener, tree: dict[str, Any], said: str) -> None:
    board(server, tree)
    with pytest.raises(SourceError, match=said):
        redfish().power_w("n1")


@pytest.mark.parametrize("lie", ["1" + "0" * 400, "1e999", "-5", "true", '"300"'])
def test_invalid_numbers_of_watts(server: MeterServer, redfish: Opener, lie: str) -> None:
    board(server, chassis("1", Power=control(1.0)))
    body = '{"PowerControl": [{"PowerConsumedWatts": ' + lie + "}]}"
    server.always(f"{ROOT}/1/Power", answer=(200, "application/json", body.encode()))
    with pytest.raises(SourceError, match="no chassis has a power reading"):
        redfish().power_w("n1")


def test_a_resource_that_is_listed_but_missing(server: MeterServer, redfish: Opener) -> None:
    board(server, {**chassis("0", EnvironmentMetrics=metrics(1)), **chassis("1", Power=control(340))})
    del server.routes[f"{ROOT}/0/EnvironmentMetrics"]
    assert redfish().power_w("n1") == 340.0
    del server.routes[f"{ROOT}/1/Power"]
    with pytest.raises(
        SourceError, match=r"no chassis has a power reading; /redfish/v1/Chassis/0/Env.* not found .HTTP 404."
    ):
        redfish().power_w("n1")


def test_a_reading_that_goes_away_and_comes_back_elsewhere(server: MeterServer, redfish: Opener) -> None:
    board(server, chassis("1", Power=control(340)))
    source = redfish()
    assert source.power_w("n1") == 340.0
    board(server, chassis("1", Power=control(None)))
    with pytest.raises(SourceError, match="the BMC returned no power reading"):
        source.power_w("n1")
    board(server, chassis("1", EnvironmentMetrics=metrics(350)))
    assert source.power_w("n1") == 350.0


def test_links_that_lead_off_the_board_are_not_followed(server: MeterServer, redfish: Opener) -> None:
    for link in ("https://evil.example.org/redfish/v1/Chassis/1", "//evil/redfish", "/redfish/../../x", 5):
        server.always(ROOT, answer=as_json({"Members": [{"@odata.id": link}]}))
        with pytest.raises(SourceError, match="no chassis has a power"):
            redfish().power_w("n1")
    assert {path for path, _, _ in server.asked} == {ROOT}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, "text/plain", b""), "refused access .HTTP 401."),
        ((500, "text/plain", b""), "server error .HTTP 500."),
        ((200, "text/html", b"<html>"), "sent an HTML page instead of JSON"),
        (as_json([]), "no chassis"),
    ],
)
def test_unusable_answers_are_refused(
    server: MeterServer, redfish: Opener, answer: tuple[int, str, bytes], said: str
) -> None:
    server.always(ROOT, answer=answer)
    with pytest.raises(SourceError, match=said):
        redfish().power_w("n1")


def test_each_node_has_its_board_and_the_credentials_go_along(
    server: MeterServer, redfish: Opener, tmp_path: Path
) -> None:
    board(server, chassis("1", Power=control(340)))
    file = tmp_path / "password"
    file.write_text("pw")
    file.chmod(0o600)
    access = {"url": server.url.replace("127.0.0.1", "{node}"), "user": "root", "password_file": file}
    assert redfish(**access).power_w("127.0.0.1") == 340.0
    assert server.asked[0][2]["authorization"] == "Basic cm9vdDpwdw=="
    with pytest.raises(SourceError, match="cannot be reached"):
        redfish(**access).power_w("127.0.0.1:1/x")
