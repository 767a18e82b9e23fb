"""Many lines at once are read as each line by itself would be, and other people's files cost what their size allows."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

FAKES = str(Path(__file__).resolve().parents[1] / "fakes")
if FAKES not in sys.path:
    sys.path.insert(0, FAKES)

from fake_spool import BOOT_NS, JOB, PACKAGE, SECOND, START_NS, FakeRun, FakeSpool, read  # noqa: E402

from hpcfrugal.accounting.tables import cpu_tdp, gpu_tdp  # noqa: E402
from hpcfrugal.ledger.derive import derive  # noqa: E402
from hpcfrugal.spool import RunDir  # noqa: E402
from hpcfrugal.spool.documents import NodeFacts  # noqa: E402
from hpcfrugal.spool.sample_header import SampledNode  # noqa: E402
from hpcfrugal.spool.samples import SampleParser  # noqa: E402

RUN = FakeRun(RunDir("/spool/20261121T100000Z-abcdef12"), 0)
SAMPLED = SampledNode(RUN.run_id, JOB, "n1")

CHANGES: list[dict[str, Any]] = [
    {"energy_uj": [None, 5]}, {"energy_uj": [1, True]}, {"energy_uj": [1.5, 2]}, {"energy_uj": [1]}, {"energy_uj": 7},
    {"energy_uj": [10**17, 0]}, {"measured_ns": [0, 0]}, {"measured_ns": [None, 0]}, {"errors": [-1, 0]},
    {"job_cpu_us": None}, {"job_cpu_us": "1"}, {"job_cpu_us": True}, {"job_cpu_us": 2**61}, {"node_busy_us": -1},
    {"boottime_ns": BOOT_NS - 1}, {"boottime_ns": BOOT_NS}, {"wall_ns": None}, {"memory_b": 2**60}, {"max_w": [1, -1]},
    {"max_w": None}, {"resets": [1, 2], "gaps": [0, 3]}, {"resets": [1]}, {"note": {"slowed": 2}}, {"note": 3},
    {"read_ns": [None, BOOT_NS]}, {"read_ns": [2**61, None]}, {"io_read_b": 5, "io_partial": True}, {"io_partial": 1},
    {"kind": "end", "reason": "stopped"}, {"kind": "end"}, {"kind": "surprise"}, {"kind": ["record"]}, {"later": {}},
    {"kind": ...}, {"wall_ns": ...}, {"errors": ...}, {"memory_b": ...},
]  # fmt: skip
"""Values in place of those of a record; ``...``: the key is missing."""

OTHER_LINES = [b"", b"[]", b"\xff", b"7", b' {"kind":"record"}', b'{"kind":"rec', b'{"a":"\xed\xa0\x80"}', b"[" * 5000]


def line(values: dict[str, Any]) -> bytes:
    """As the sidecar writes it; the reader looks for headers in this form."""
    return json.dumps(values, separators=(",", ":")).encode()


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A sample file in which some lines are not as the sidecar writes them."""
    out = []
    for at in range(draw(st.integers(1, 30))):
        start = at == 0 or draw(st.integers(0, 12)) == 7
        if start:
            moved = {"boottime_ns": BOOT_NS + at * SECOND, "boot_id": draw(st.sampled_from(["b", None]))}
            out.append(line(RUN.header(**moved)))
        else:
            changes = draw(st.sampled_from(CHANGES)) if draw(st.integers(0, 11)) == 7 else {}
            record = {**RUN.record(at, [at * 10**6, 0]), **changes}
            out.append(line({key: value for key, value in record.items() if value is not ...}))
        if draw(st.integers(0, 19)) == 7:
            out.append(draw(st.sampled_from(OTHER_LINES)))
    data = b"\n".join(out) + b"\n"
    return data[: draw(st.integers(len(data) // 2, len(data)))] if draw(st.booleans()) else data


def parsed(pieces: list[bytes]) -> tuple[Any, Counter[str], bytes]:
    parser = SampleParser(SAMPLED)
    for piece in pieces:
        parser.feed(piece)
    return parser.sessions, parser.bad, parser.last_line


@given(data=files(), cuts=st.lists(st.integers(0, 20_000), max_size=5))
def test_lines_at_once_count_as_each_by_itself(data: bytes, cuts: list[int]) -> None:
    whole = parsed([data])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpcfrugal.spool.samples._LINES_AT_ONCE", 1)
        patch.setattr("hpcfrugal.spool.sidecar_session.SidecarSession.extend", lambda session, records: False)
        assert parsed([data]) == whole
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    assert parsed([data[start:end] for start, end in pairwise(edges)]) == whole


def test_lines_without_a_kind_are_no_records() -> None:
    records = [{key: value for key, value in RUN.record(at, [at, 0]).items() if key != "kind"} for at in range(1, 9)]
    sessions, bad, _ = parsed([b"\n".join([*map(line, [RUN.header(), *records]), b""])])
    assert [len(session) for session in sessions] == [0]
    assert bad == {"unknown kind None": 8}


def test_a_session_keeps_the_newest_and_the_greatest(tmp_path: Path) -> None:
    run = FakeSpool(tmp_path).run()
    lines = run.records([100, 10], 30)
    lines[1] |= {"max_w": [150, None], "gpu_busy_us": 5, "memory_peak_b": 7, "resets": [1, 0]}
    lines[2] |= {"max_w": [120.5, None], "memory_peak_b": None, "note": {"slowed": 4}}
    lines[3] |= {
        "memory_peak_b": None,
        "errors": [2, 1],
        "wall_ns": lines[3]["wall_ns"] + 9,
        "read_ns": [BOOT_NS + 25 * SECOND, None],
    }
    (session,) = read(run.samples([run.header(), *lines])).sessions
    assert len(session) == 4
    assert (session.peak_w, session.resets, session.gaps) == ([150, None], (1, 0), None)
    assert (session.errors, session.slowed, session.memory_peak_b) == ((2, 1), 4, 7)
    assert (session.use, session.end_reason) == ({"gpu_busy_us": 5}, "stopped")
    assert session.ended_clock_ns == lines[3]["wall_ns"]
    assert session.read_ns == [[None, None, None, BOOT_NS + 25 * SECOND], [None] * 4]
    assert session.job_cpu_us == [0, 10 * 10**6, 20 * 10**6, 30 * 10**6]


@pytest.mark.parametrize("changes", [{"channels": 513}, {"gpus": 513}, {"absent": 4000}])
def test_a_header_of_more_than_a_node_can_have_is_refused(tmp_path: Path, changes: dict[str, int]) -> None:
    run = FakeSpool(tmp_path).run()
    items = {
        "channels": {**PACKAGE, "detail": None},
        "gpus": {"index": 0, "uuid": None, "name": None},
        "absent": {"component": "cpu", "source": "rapl-powercap", "reason": "denied: /sys/class/powercap"},
    }
    many = {name: [items[name]] * count for name, count in changes.items()}
    found = read(run.samples([run.header(**many), run.record(0, [0] * changes.get("channels", 2))]))
    assert found.sessions == ()
    reason = "header of more than 262144 bytes" if "absent" in changes else "header: more than 512 channels or GPUs"
    assert found.problems[0].startswith(f"1 line: {reason}")
    assert found.problems[1:] == ("1 line: no valid header before it",)


def test_a_node_has_4096_gpus_a_pebibyte_and_100_kw_at_most(tmp_path: Path) -> None:
    run = FakeSpool(tmp_path).run()
    most = {"gpus_promised": 4096, "memory_node_b": 1_125_899_906_842_624, "cpu_limit_uw": 100_000_000_000}
    (session,) = read(run.samples([run.header(**most)])).sessions
    assert {name: getattr(session.header, name) for name in most} == most
    (session,) = read(run.samples([run.header(**{name: value + 1 for name, value in most.items()})])).sessions
    assert {getattr(session.header, name) for name in most} == {None}


def test_a_peak_is_a_gigawatt_at_most(tmp_path: Path) -> None:
    run = FakeSpool(tmp_path).run()
    for peak_w, kept in ((10**9, 10**9), (10**9 + 1, None)):
        lines = run.records([100, 10], 30)
        lines[1] |= {"max_w": [peak_w, None]}
        (session,) = read(run.samples([run.header(), *lines])).sessions
        assert session.peak_w == [kept, None]


@pytest.mark.serial
def test_as_many_channels_as_there_may_be_take_no_time(tmp_path: Path) -> None:
    run = FakeSpool(tmp_path).run()
    channels = [{**PACKAGE, "domain": f"package-{number}"} for number in range(512)]
    lines = [run.record(0, [0] * 512)]
    for at_s in range(10, 200, 10):
        # Each at a time of its own, so that there are ten thousand at which one of them was read.
        late_ns = [BOOT_NS + at_s * SECOND - number for number in range(512)]
        lines.append(run.record(at_s, [at_s * 10**6] * 512, read_ns=late_ns))
    path = run.samples([run.header(channels=channels, exclusive=False), *lines])
    facts = NodeFacts("n1", slurm_cpus=8, idle_power_uw=(("cpu", 10**8),))
    began = time.process_time()
    totals = derive(read(path).sessions, cpu_tdp(), gpu_tdp(), facts)
    assert time.process_time() - began < 5
    known = [channel for channel in totals.channels if channel.key.component == "cpu" and channel.idle_uj]
    assert len(known) == 512


@pytest.mark.serial
@pytest.mark.parametrize("boots", [1, 3000])
def test_as_many_sessions_as_fit_into_a_file_take_no_time_for_each_other(boots: int) -> None:
    lines = []
    for number in range(3000):
        moved = {"boottime_ns": BOOT_NS + number * SECOND, "wall_ns": START_NS + number * SECOND, "channels": []}
        lines += [RUN.header(**moved, boot_id=str(number % boots)), RUN.record(number, [])]
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    began = time.process_time()
    sessions, bad, _ = parsed([data])
    assert time.process_time() - began < 5
    assert (len(sessions), bad) == (3000, Counter())
