"""A file that is read on from where the last sync stopped gives what it gives when it is read whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fake_spool import BOOT_NS, DRAM, GPU, JOB, PACKAGE, PSYS, SECOND, START_NS, FakeRun, read
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.accounting.tables import cpu_tdp, gpu_tdp
from hpcfrugal.ledger.channel_totals import NodeTotals
from hpcfrugal.ledger.derive import derive
from hpcfrugal.ledger.read_on import place_to_read_on, read_on
from hpcfrugal.ledger.rows import SessionRow
from hpcfrugal.ledger.sessions import session_row
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.sample_header import SampledNode
from hpcfrugal.spool.samples import SampleFile

RUN = FakeRun(RunDir("/spool/20261121T100000Z-abcdef12"), 0)
SAMPLED = SampledNode(RUN.run_id, JOB, "n1")
Derived = tuple[NodeTotals, list[SessionRow], tuple[str, ...]]


AGENT = {**PACKAGE, "source": "agent", "step_s": 10.0}

ODDITIES: list[dict[str, Any]] = [
    {"energy_uj": None}, {"energy_uj": 5}, {"read_ns": BOOT_NS}, {"resets": 1}, {"errors": 3}, {"job_cpu_us": None},
    {"node_busy_us": 0}, {"memory_b": None}, {"note": {"slowed": 8}}, {"gpu_busy_us": 5, "gpu_seen_us": 7},
    {"kind": "what"}, {"max_w": -1},
]  # fmt: skip
BY_CHANNEL = ("energy_uj", "read_ns", "resets", "errors", "max_w")


def sample_file(random: Random) -> bytes:
    """A file as the sidecar writes it, in which seldom something has to be looked at again."""
    lines: list[dict[str, Any]] = []
    odd = random.choice([0, 0, 0.02, 0.2])
    at_s = 0
    for _ in range(random.choice([1, 1, 1, 2])):
        package = {**PACKAGE, "domain": "package-1"}
        channels = random.choice(
            [[PACKAGE, DRAM], [PACKAGE], [PACKAGE, package, PSYS], [], [PACKAGE, GPU], [AGENT, DRAM]]
        )
        count = len(channels)
        lines.append(
            RUN.header(
                channels=channels,
                exclusive=random.random() < 0.5,
                cpus_alloc=random.choice([2, None]),
                memory_alloc_b=random.choice([8 * 10**9, 8 * 10**9, None]),
                record_s=random.choice([10.0, 100.0, 1000.0]),
                wall_ns=START_NS + at_s * SECOND,
                boottime_ns=BOOT_NS + at_s * SECOND,
                gpus=[{"index": 0, "uuid": "GPU-a", "name": "A100"}] * (random.random() < odd or GPU in channels),
                absent=[{"component": "dram", "source": "x", "reason": "y", "domain": "dram-1"}],
            )
        )
        start_s, energy, busy_us, job_us = at_s, [0] * count, 0, 0
        for number in range(random.randrange(60)):
            step_s = 0 if number == 0 else random.choice([10, 10, 10, 9, 100, 400 if random.random() < odd else 20])
            at_s += step_s
            energy = [uj + random.randrange(300 * 10**6) * step_s for uj in energy]
            if AGENT in channels and random.random() < odd:
                energy[0] = random.randrange(energy[0] + 1)
            job_us += random.randrange(3 * 10**6) * step_s
            busy_us += random.randrange(8 * 10**6) * step_s
            record = RUN.record(at_s, list(energy), job_cpu_us=job_us, node_busy_us=busy_us, memory_b=at_s + 1)
            record["measured_ns"] = [(at_s - start_s) * SECOND + random.randrange(3) * number] * count
            if AGENT in channels:
                record["assumed_ns"] = [random.randrange(20 * SECOND), 0]
            record["max_w"] = [random.choice([None, random.random() * 300]) for _ in channels]
            if random.random() < odd:
                changes = random.choice(ODDITIES)
                record |= {name: [value] * count if name in BY_CHANNEL else value for name, value in changes.items()}
            lines.append(record)
        if random.random() < 0.5 and lines[-1]["kind"] == "record":
            lines[-1] |= {"kind": "end", "reason": "stopped"}
        at_s += random.choice([0, 50])
    texts = [json.dumps(line).encode() for line in lines]
    if random.random() < odd:
        texts.insert(random.randrange(len(texts)), b"garbage")
    return b"\n".join(texts) + b"\n"


def derived(samples: SampleFile, totals: NodeTotals) -> Derived:
    return totals, [session_row(one, "n1", at, None) for at, one in enumerate(samples.sessions)], samples.problems


def grow(path: Path, data: bytes, cuts: list[int]) -> int:
    """Read the growing file at each cut, and check what that gives; how often it was read on."""
    place: str | None = None
    count = 0
    for cut in cuts:
        with path.open("ab") as file:
            file.write(data[path.stat().st_size : cut])
        whole = read(path)
        expected = derive(whole.sessions, cpu_tdp(), gpu_tdp())
        found = None if place is None else read_on(path, os.getuid(), SAMPLED, place)
        samples, totals = whole, expected
        if found is not None:
            count += 1
            samples, totals = found.samples, derive(found.samples.sessions, cpu_tdp(), gpu_tdp(), None, found.before)
            assert derived(samples, totals) == derived(whole, expected)
            assert (samples.size, samples.state) == (whole.size, whole.state)
        place = place_to_read_on(samples, totals)
        assert place == place_to_read_on(whole, expected)
    return count


@given(seed=st.integers(0, 2**32))
def test_a_file_that_is_read_on_gives_what_it_gives_when_it_is_read_whole(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    random = Random(seed)
    data = sample_file(random)
    path = tmp_path_factory.mktemp("grow") / RUN.run_id / "17.0.n1.jsonl"
    path.parent.mkdir()
    path.touch()
    cuts = sorted(random.randrange(len(data)) for _ in range(random.randrange(6)))
    grow(path, data, [*cuts, len(data), len(data)])


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("channels", [[PACKAGE, DRAM], []])
def test_a_plain_file_is_read_on_at_each_sync_but_the_first_and_the_last(
    tmp_path: Path, exclusive: bool, channels: list[dict[str, Any]]
) -> None:
    lines = [RUN.header(channels=channels, exclusive=exclusive), *RUN.records([100, 10][: len(channels)], 3600)]
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    path = tmp_path / RUN.run_id / "17.0.n1.jsonl"
    path.parent.mkdir()
    path.touch()
    assert grow(path, data, [len(data) * part // 20 for part in range(1, 21)]) == 18


def test_the_first_record_may_be_lost_and_each_line_come_by_itself(tmp_path: Path) -> None:
    lines = [RUN.header(exclusive=False), *RUN.records([100, 10], 60)[1:]]
    texts = [json.dumps(line).encode() + b"\n" for line in lines]
    path = tmp_path / RUN.run_id / "17.0.n1.jsonl"
    path.parent.mkdir()
    path.touch()
    cuts = [sum(map(len, texts[:count])) for count in range(1, len(texts) + 1)]
    assert grow(path, b"".join(texts), cuts) == len(lines) - 3
