"""A record's one definition: what is read of untrusted JSON, what is written, and its SQL columns."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest

from hpcfrugal.core.record import (
    DROP_INVALID,
    EMBEDDED,
    NOT_STORED,
    SIZED,
    STRICT,
    InvalidRecord,
    IsoTime,
    Key,
    Range,
    UnixTime,
    assemble,
    codec,
    json_text,
)
from hpcfrugal.core.record_json import LineReader, ObjectReader
from hpcfrugal.core.safe_read import parse_json

START_NS = 1_795_000_000 * 10**9


class Door(StrEnum):
    OPEN = "open"
    SHUT = "shut"


@dataclass(frozen=True, slots=True)
class Fan:
    name: str
    rpm: Annotated[int | None, Range(1, 9000)] = None


@dataclass(frozen=True, slots=True)
class Heat:
    inlet_c: float | None = None
    alarm: bool | None = None


@dataclass(frozen=True, slots=True)
class Rack:
    rack: str
    mode: Literal["on", "off"]
    cpus: Annotated[int, Range(1)]
    since_wall_ns: Annotated[int | None, IsoTime("since_at")]
    seen_wall_ns: Annotated[int | None, UnixTime("seen_s")]
    model: Annotated[str | None, Key("type")]
    meter_uj: Annotated[int | None, STRICT]
    counts: Annotated[tuple[int | None, ...] | None, SIZED]
    nodes: tuple[str, ...] = ()
    fans: Annotated[tuple[Fan, ...], DROP_INVALID] = ()
    limits: Annotated[tuple[tuple[str, int], ...], Range(high=100)] = ()
    labels: dict[str, str] | None = None
    door: Door | None = None
    heat: Annotated[Heat, EMBEDDED] = Heat()
    spare: Fan | None = None


WHOLE: dict[str, Any] = {
    "rack": "r1",
    "mode": "on",
    "cpus": 8,
    "since_at": "2026-11-18T11:06:40+00:00",
    "seen_s": START_NS / 1e9,
    "type": "x",
    "meter_uj": 5,
    "counts": [1, None],
    "nodes": ["n1", "n2"],
    "fans": [{"name": "f1", "rpm": 3000}, {"name": "f2", "rpm": None}],
    "limits": {"cpu": 7, "dram": 9},
    "labels": {"a": "b"},
    "door": "shut",
    "inlet_c": 21.5,
    "alarm": False,
    "spare": {"name": "f3", "rpm": 1},
}


def read(**changes: Any) -> tuple[Rack, list[str]]:
    problems: list[str] = []
    return codec(Rack, 2).read({**WHOLE, **changes}, problems), problems


def test_json_comes_back_as_it_was() -> None:
    rack, problems = read(unknown_key=1)
    assert problems == []
    assert (rack.since_wall_ns, rack.seen_wall_ns) == (START_NS, START_NS)
    assert (rack.heat, rack.fans[0].rpm) == (Heat(21.5, False), 3000)
    assert codec(Rack, 2).write(rack) == WHOLE


def test_a_row_comes_back_as_it_was() -> None:
    rack, _ = read()
    row = codec(Rack, 2).row(rack)
    assert codec(Rack, 2).of_row(row) == rack
    assert codec(Rack, 2).of_row(row).door is rack.door is Door.SHUT
    columns = codec(Rack, 2).columns
    assert columns[-5:] == ("labels", "door", "inlet_c", "alarm", "spare")
    assert [row[columns.index(name)] for name in ("nodes", "limits", "alarm")] == [
        '["n1","n2"]', '{"cpu":7,"dram":9}', False,
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Load:
    at_ns: int
    fans_rpm: Annotated[tuple[int | None, ...], Range(high=9000), SIZED]
    watts: Annotated[tuple[float, ...] | None, SIZED] = None
    spare: Fan | None = None
    heat: Annotated[Heat, EMBEDDED] = Heat()


def lines_of(objects: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(one).encode() for one in objects]


@pytest.mark.parametrize(
    "changes",
    [
        {"at_ns": None}, {"at_ns": True}, {"at_ns": -1}, {"at_ns": "1"}, {"at_ns": 5.0}, {"at_ns": 2**62 + 1},
        {"fans_rpm": [1]}, {"fans_rpm": None}, {"fans_rpm": [1, 9001]}, {"fans_rpm": [1, False]},
        {"watts": [1.5, None]}, {"watts": None}, {"watts": [True, 1]}, {"alarm": 1}, {"spare": {"name": "f"}},
        {"more": 1}, {"kind": "other"}, {"kind": None}, {"why": 5},
    ],
)  # fmt: skip
def test_lines_are_read_at_once_only_where_every_object_reads_as_it_stands(changes: dict[str, Any]) -> None:
    reader = LineReader(codec(Load, 2), {"kind": Literal["load"]}, {"why": str})
    good = {"at_ns": 5, "fans_rpm": [1, None], "watts": [1, 2.5], "alarm": None, "kind": "load"}
    lines = lines_of([good, {**good, "at_ns": 6, "alarm": False}])
    assert reader.columns(lines) == {
        "at_ns": (5, 6), "fans_rpm": ([1, None], [1, None]), "watts": ([1.0, 2.5], [1.0, 2.5]), "alarm": (None, False),
        "kind": ("load", "load"),
    }  # fmt: skip
    assert reader.columns([*lines, *lines_of([{**good, **changes}])]) is None
    for needed in ("at_ns", "kind"):
        assert reader.columns(lines_of([{key: value for key, value in good.items() if key != needed}])) is None
    assert reader.columns([lines[0].replace(b"2.5", b"NaN")]) is None
    assert reader.columns([lines[0].replace(b'"load"', b'"load", "why": "\xff"')]) is None


@dataclass(frozen=True, slots=True)
class Cabinet:
    rack: str
    cpus: Annotated[int, Range(1)]
    mode: Literal["on", "off"] | None
    since_wall_ns: Annotated[int | None, IsoTime("since_at")]
    fans: tuple[Fan, ...]
    height_m: Annotated[float | None, Range(high=4)] = 2.5
    model: Annotated[str | None, Key("type")] = None
    is_open: bool = False
    nodes: tuple[str, ...] = ("n1",)
    labels: dict[str, str] = field(default_factory=dict)
    door: Door | None = None
    spare: Fan | None = None


CABINET = (
    b'{"v": 1, "rack": "r1", "cpus": 8, "mode": "on", "since_at": "2026-11-18T11:06:40Z", "fans": [{"name": "f"}],'
    b' "height_m": 2, "type": "\xc3\xa9", "is_open": true, "nodes": [], "labels": {"a": "b"}, "door": "open",'
    b' "spare": {"name": "g", "rpm": 5}, "more": ["\xc3\xa9", 1.5]}'
)


def whole_cabinet(data: bytes) -> Cabinet | None:
    """By ``Codec.read``; None where it finds a mistake."""
    problems: list[str] = []
    try:
        found = parse_json(data)
        cabinet = codec(Cabinet).read(found, problems)
    except (ValueError, InvalidRecord):
        return None
    return None if problems or found.get("v") != 1 else cabinet


def test_an_object_is_read_from_its_bytes_only_where_all_of_it_is_valid() -> None:
    reader = ObjectReader(codec(Cabinet), {"v": Literal[1]})
    assert reader.read(CABINET) == whole_cabinet(CABINET) is not None
    assert reader.read(b'{"v": 1, "rack": "r", "cpus": 1, "fans": []}') == Cabinet("r", 1, None, None, ())
    changes = (
        b"",
        b"0",
        b"-",
        b".",
        b'"',
        b",",
        b"}",
        b"]",
        b"\\",
        b"\xff",
        b"\n",
        b"null",
        b"true",
        b"1e400",
        b"{}",
        b'"x"',
    )
    same = [
        (data, whole_cabinet(data))
        for at in range(len(CABINET))
        for length in (0, 1, 3)
        for change in changes
        if reader.read(data := CABINET[:at] + change + CABINET[at + length :]) is not None
    ]
    assert len(same) > 1000
    for data, cabinet in same:
        assert reader.read(data) == cabinet, data


@dataclass(frozen=True, slots=True)
class Shelf:
    rows: tuple[int, int]
    row: int = 0


@dataclass(frozen=True, slots=True)
class Label:
    text: str
    width: Annotated[int | None, NOT_STORED] = None
    height: int | None = None


def test_an_object_has_tuples_and_each_value_in_its_place() -> None:
    assert ObjectReader(codec(Shelf), {}).read(b'{"rows": [1, 2], "row": 3}') == Shelf((1, 2), 3)
    with pytest.raises(TypeError, match="Label has fields between others"):
        ObjectReader(codec(Label), {})
    with pytest.raises(TypeError, match="Rack has fields between others"):
        ObjectReader(codec(Rack, 2), {})


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2}, {"v": None}, {"rack": None}, {"rack": 5}, {"cpus": 0}, {"cpus": 8.0}, {"cpus": True}, {"cpus": 2**63},
        {"mode": "idle"}, {"since_at": "today"}, {"since_at": "1999-01-01T00:00:00Z"}, {"fans": None}, {"fans": [{}]},
        {"fans": [{"name": "f", "rpm": 0}]}, {"height_m": 4.5}, {"height_m": "2"}, {"type": "\ud800"}, {"is_open": 1},
        {"nodes": [1]}, {"labels": {"a": 1}}, {"labels": []}, {"door": "ajar"}, {"spare": {}}, {"spare": []},
    ],
)  # fmt: skip
def test_an_object_with_a_mistake_is_not_read_from_its_bytes(changes: dict[str, Any]) -> None:
    reader = ObjectReader(codec(Cabinet), {"v": Literal[1]})
    for _ in range(2):
        assert reader.read(json.dumps({**json.loads(CABINET), **changes}).encode()) is None


@pytest.mark.parametrize(
    ("changes", "attribute", "problem"),
    [
        ({"type": 7}, "model", "type: not a text"),
        ({"since_at": "2026-11-18"}, "since_wall_ns", "since_at: not an ISO 8601 time with its offset from UTC"),
        ({"since_at": "1999-01-01T00:00:00Z"}, "since_wall_ns", "since_at: not a time between 2000 and 2200"),
        ({"since_at": "2200-01-01T00:00:01Z"}, "since_wall_ns", "since_at: not a time between 2000 and 2200"),
        ({"seen_s": True}, "seen_wall_ns", "seen_s: not a number"),
        ({"seen_s": 10**400}, "seen_wall_ns", "seen_s: not a number"),
        ({"counts": [1]}, "counts", "counts: not a list of 2 integers from 0 to 4611686018427387904 or null"),
        ({"counts": [1, True]}, "counts", "counts: not a list of 2 integers from 0 to 4611686018427387904 or null"),
        ({"labels": []}, "labels", "labels: not an object"),
        ({"spare": [1]}, "spare", "spare: not an object"),
        ({"door": "ajar"}, "door", "door: not one of open, shut"),
        ({"door": 1}, "door", "door: not a text"),
    ],
)
def test_an_invalid_value_costs_itself_alone(changes: dict[str, Any], attribute: str, problem: str) -> None:
    rack, problems = read(**changes)
    assert getattr(rack, attribute) is None
    assert problems == [problem]
    assert rack.rack == "r1"


def test_an_invalid_value_leaves_the_default() -> None:
    rack, problems = read(nodes="n1", fans={}, limits=[], alarm=1, inlet_c="warm")
    assert (rack.nodes, rack.fans, rack.limits, rack.heat) == ((), (), (), Heat())
    assert sorted(problems) == [
        "alarm: not true or false", "fans: not a list of objects", "inlet_c: not a number", "limits: not an object",
        "nodes: not a list of texts",
    ]  # fmt: skip


def test_entries_are_left_out_one_by_one() -> None:
    fans = [{"rpm": 1}, {"name": "f", "rpm": 0}]
    rack, problems = read(
        fans=fans, limits={"cpu": 101, "gpu": 5, "x": None}, labels={"a": 1, "b": None, "c": "\ud800"}
    )
    assert (rack.fans, rack.limits, rack.labels) == ((Fan("f"),), (("gpu", 5),), {"c": "?"})
    assert problems == [
        "fans[0].name: missing",
        "fans[1].rpm: not an integer from 1 to 9000",
        "limits.cpu: not an integer from 0 to 100",
        "labels.a: not a text",
    ]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rack": None}, "rack: missing"),
        ({"rack": 1}, "rack: not a text"),
        ({"mode": "idle"}, "mode: not one of on, off"),
        ({"cpus": 0}, "cpus: not an integer from 1 to 4611686018427387904"),
        ({"cpus": True}, "cpus: not an integer from 1 to 4611686018427387904"),
        ({"cpus": 1.0}, "cpus: not an integer from 1 to 4611686018427387904"),
        ({"meter_uj": -1}, "meter_uj: not an integer from 0 to 4611686018427387904"),
        ({"spare": {"rpm": 1}}, "spare.name: missing"),
    ],
)
def test_a_record_without_what_it_needs_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidRecord) as refused:
        read(**changes)
    assert str(refused.value) == why


def test_strict_and_missing_is_unknown() -> None:
    rack, problems = read(meter_uj=None)
    assert (rack.meter_uj, problems) == (None, [])


def test_values_go_before_the_attributes_of_sources() -> None:
    fan = Fan("f1", 5)
    assert assemble(Fan, fan, name="f2") == Fan("f2", 5)
    with pytest.raises(AttributeError):
        assemble(Fan, Heat(), rpm=1)


def test_columns_of_plain_records_come_back(tmp_path: object) -> None:
    fans = codec(Fan)
    assert fans.of_row(fans.row(Fan("f1", 5))) == Fan("f1", 5)
    heat = codec(Heat)
    assert heat.of_row((21, 1)) == Heat(21, True)
    assert json.dumps(heat.write(heat.of_row((None, None)))) == '{"inlet_c": null, "alarm": null}'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": [1, 2.5, None], "a": True}, '{"a":true,"b":[1,2.5,null]}'),
        ({"é": "ü"}, '{"é":"ü"}'),
        ({"b": "é", "a": "\ud800"}, '{"a":"\\ud800","b":"\\u00e9"}'),
        ([2**64], "[18446744073709551616]"),
    ],
)
def test_the_text_of_a_json_column_has_its_keys_in_order_and_can_be_stored(value: object, text: str) -> None:
    assert json_text(value) == text
    assert text.encode()
    assert json.loads(text) == value
