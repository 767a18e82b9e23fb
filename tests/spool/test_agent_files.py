"""Files of node agents, as they may be found in a spool that others can write into."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from hpcfrugal.core.safe_read import UnsafeFile
from hpcfrugal.spool.agent_files import AgentFile, read_agent_file
from hpcfrugal.spool.agent_layout import agent_file, agent_files
from hpcfrugal.spool.agent_records import JobLife
from hpcfrugal.spool.layout import iter_runs

S = 10**9
WALL_NS = 1_790_000_000 * S


def header(**changes: Any) -> dict[str, Any]:
    channel = {
        "component": "cpu", "domain": "package-0", "source": "rapl-powercap", "quality": "measured", "detail": "d",
        "boundary": "components", "scope": "node", "counted": True, "gpu_uuid": None,
    }  # fmt: skip
    return {
        "kind": "header", "schema": 1, "agent": "1", "node": "n1", "boot_id": "b", "wall_ns": WALL_NS,
        "boottime_ns": 100 * S, "interval_s": 1.0, "record_s": 60.0, "cpus_node": 8, "channels": [channel], **changes,
    }  # fmt: skip


def job(**changes: Any) -> dict[str, Any]:
    return {
        "job_id": "17",
        "sluid": None,
        "uid": 1000,
        "first_ns": 90 * S,
        "cpus": 4,
        "cpu_us": 5,
        "energy_uj": [600],
        "idle_uj": [200],
        **changes,
    }


def record(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "record", "wall_ns": WALL_NS + S, "boottime_ns": 160 * S, "energy_uj": [1000], "rest_uj": [300],
        "ended_uj": [100], "measured_ns": [S], "errors": [0], "node_busy_us": 9, "jobs": [job()], **changes,
    }  # fmt: skip


def read(tmp_path: Path, *lines: dict[str, Any] | bytes) -> AgentFile:
    path = agent_file(tmp_path, "n1", date(2026, 11, 28))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines))
    return read_agent_file(path, os.getuid(), "n1")


def test_the_last_sums_of_each_job(tmp_path: Path) -> None:
    ended = {"kind": "job", "ended_ns": 170 * S, **job(energy_uj=[700], cpu_us=6)}
    other = job(job_id=None, sluid="sEKNKTV3WPV500", uid=None, energy_uj=[0], idle_uj=[])
    last = record(boottime_ns=220 * S, ended_uj=[800], energy_uj=[1100], jobs=[other])
    found = read(tmp_path, header(), record(), ended, last)
    assert not found.bad
    (session,) = found.sessions
    assert session.latest is session.records[1]
    assert {life: (one.cpu_us, one.energy_uj) for life, one in session.jobs().items()} == {
        JobLife("17", 90 * S): (6, (700,)),
        JobLife("sEKNKTV3WPV500", 90 * S): (5, (0,)),
    }


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (record(rest_uj=[301]), "record in which jobs and rest are not the energy of the node"),
        (record(energy_uj=[None]), "record in which jobs and rest are not the energy of the node"),
        (
            record(energy_uj=[1000, 1]),
            "field energy_uj: not a list of 1 integers from 0 to 4611686018427387904 or null",
        ),
        (record(energy_uj=[10**15], rest_uj=[10**15 - 700]), "record of more energy than there can be"),
        (record(boottime_ns=99 * S), "record before its header or a year after it"),
        (record(jobs=[job(energy_uj=[600, 0])]), "a job with another number of channels than the header"),
        (record(jobs=[job(job_id=None)]), "a job without a name"),
        (record(jobs=[job(first_ns=161 * S)]), "a job of more CPU time than there can be, or of a later time"),
        (record(jobs=[job(cpu_us=10**16)]), "a job of more CPU time than there can be, or of a later time"),
        (record(jobs=[job(idle_uj=[601])]), "a job of which more is idle energy than it has"),
        (record(jobs=[job(idle_uj=[1, 1])]), "a job of which more is idle energy than it has"),
        (record(jobs=[job(cpus=0)]), "field jobs[0].cpus: not an integer from 1 to 65536"),
        (
            {"kind": "job", "ended_ns": 170 * S, **job(idle_uj=[601])},
            "a job of which more is idle energy than it has",
        ),
        (record(jobs=[job(uid=-1)]), "field jobs[0].uid: not an integer from 0 to 4294967294"),
        ({"kind": "job", **job()}, "a job that ended before its header or a year after it"),
        ({"kind": "job", "ended_ns": 99 * S, **job()}, "a job that ended before its header or a year after it"),
        ({"kind": "job", "ended_ns": 170 * S, **job(energy_uj=[10**15])}, "a job of more energy than there can be"),
        ({"kind": "other"}, "unknown kind other"),
        (b"[1]\n", "not a JSON object"),
        (b"nonsense\n", "not valid JSON"),
        (b"x" * (4 * 1024 * 1024 + 100) + b"\n", "not valid JSON"),
    ],
)
def test_a_line_that_cannot_be_is_counted_with_its_reason(
    tmp_path: Path, line: dict[str, Any] | bytes, reason: str
) -> None:
    found = read(tmp_path, header(), line, record())
    assert dict(found.bad) == {reason: 1}
    assert len(found.sessions[0].records) == 1


@pytest.mark.parametrize(
    "second",
    [
        record(boottime_ns=150 * S),
        record(energy_uj=[900], rest_uj=[200]),
        record(ended_uj=[99], rest_uj=[301]),
        record(measured_ns=[1]),
    ],
)
def test_sums_never_fall(tmp_path: Path, second: dict[str, Any]) -> None:
    assert dict(read(tmp_path, header(), record(), second).bad) == {"record runs backwards": 1}


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, header(), record(), json.dumps(record(boottime_ns=170 * S)).encode())
    assert not found.bad
    assert len(found.sessions[0].records) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"node": "n2"}, "header of node 'n2'"),
        ({"schema": 2}, "header of schema 2, this program reads 1"),
        ({"channels": [{}]}, "field channels[0].component: missing"),
        ({"channels": header()["channels"] * 513}, "header: more than 512 channels or GPUs, which no node has"),
    ],
)
def test_records_after_a_header_that_does_not_count_have_no_session(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    found = read(tmp_path, header(), header(**changes), record())
    assert dict(found.bad) == {reason: 1, "no valid header before it": 1}


def test_a_copy_of_an_earlier_session_does_not_count(tmp_path: Path) -> None:
    found = read(tmp_path, header(), record(), header(), record())
    assert len(found.sessions) == 1
    assert dict(found.bad) == {"header of a time that an earlier session covers": 1, "no valid header before it": 1}


def test_a_file_of_another_user_or_a_link_is_refused(tmp_path: Path) -> None:
    read(tmp_path, header())
    path = agent_file(tmp_path, "n1", date(2026, 11, 28))
    with pytest.raises(UnsafeFile, match="belongs to uid"):
        read_agent_file(path, os.getuid() + 1, "n1")
    link = agent_file(tmp_path, "n1", date(2026, 11, 29))
    link.symlink_to(path)
    with pytest.raises(UnsafeFile, match="a symbolic link"):
        read_agent_file(link, os.getuid(), "n1")


def test_files_of_agents_lie_beside_the_runs(tmp_path: Path) -> None:
    read(tmp_path, header())
    other = agent_file(tmp_path, "a/b", date(2026, 2, 3))
    other.parent.mkdir()
    for name in (other.name, "2026-02-31.jsonl", "notes.txt"):
        (other.parent / name).touch()
    assert [(node, day) for node, day, _ in agent_files(tmp_path)] == [
        ("a/b", date(2026, 2, 3)),
        ("n1", date(2026, 11, 28)),
    ]
    skipped: list[Path] = []
    assert list(iter_runs(tmp_path, lambda path, _: skipped.append(path))) == []
    assert skipped == []


@pytest.mark.parametrize(
    ("second", "counts"),
    [
        ({"boot_id": "other", "boottime_ns": 5 * S, "wall_ns": WALL_NS + 30 * S}, False),
        ({"boot_id": "other", "boottime_ns": 5 * S, "wall_ns": WALL_NS + 61 * S}, True),
        ({"boot_id": None, "boottime_ns": 5 * S, "wall_ns": WALL_NS + 30 * S}, False),
        ({"boottime_ns": 130 * S, "wall_ns": WALL_NS + 3600 * S}, False),
        ({"boottime_ns": 161 * S, "wall_ns": WALL_NS}, True),  # the clock was set
    ],
)
def test_a_session_in_the_time_of_an_earlier_one_does_not_count(
    tmp_path: Path, second: dict[str, Any], counts: bool
) -> None:
    found = read(tmp_path, header(), record(), header(**second))
    assert len(found.sessions) == 1 + counts
    assert dict(found.bad) == ({} if counts else {"header of a time that an earlier session covers": 1})


def test_a_header_that_names_a_channel_twice_does_not_count(tmp_path: Path) -> None:
    found = read(tmp_path, header(channels=header()["channels"] * 4), record())
    assert dict(found.bad) == {
        "header: names a channel twice: cpu/package-0/rapl-powercap": 1,
        "no valid header before it": 1,
    }
