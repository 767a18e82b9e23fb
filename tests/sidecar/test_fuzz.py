"""Sysfs that shows anything at all: no crash, no line that a reader refuses, no joule out of nothing.

Every file of a tree with all kinds of meters is changed at random between the samples: numbers that fit,
numbers that do not, garbage, nothing, a missing file, one that is back. Whatever comes, a counter's energy
rises by no more than its own valid readings do, and by no more than ``max_w`` allows for the time it claims.

A number that fits cannot be told from a true one. All else can, so there the truth is exact: energy is unknown,
or it is the true power times the time that it claims to have measured, to the microjoule.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from fake_meters import FakeCray, amd_gpu, chip, grace, kfd, perf_source
from fake_rapl import two_sockets

from hpcfrugal.sidecar import log
from hpcfrugal.sidecar.identity import Identity
from hpcfrugal.sidecar.job_wait import JobWait
from hpcfrugal.sidecar.loop import Loop, SamplingConfig
from hpcfrugal.sidecar.sensor_selection import SensorSelection
from hpcfrugal.sidecar.sensors.base import POWER_UW, Channel
from hpcfrugal.sidecar.sources import SensorContext, fallback_sensors, primary_sensors
from hpcfrugal.sidecar.sysfs import parse_count
from hpcfrugal.sidecar.usage import Usage
from hpcfrugal.sidecar.writer import Writer
from hpcfrugal.spool.layout import JobKey
from hpcfrugal.spool.sample_header import SampledNode, parse_header

S = 10**9
TICKS = 60

GARBAGE = [
    b"",
    b"\n",
    b"-1\n",
    b"-5 J 1 us\n",
    b"nan\n",
    b"1e9\n",
    b"0x10\n",
    b"1_000\n",
    b"99999999999999999999\n",
    b"99999999999999999999999 J 1 us\n",
    b"9" * 5000,
    b"18446744073709551615\n",
    b"\x00\xff\xfe\x80" * 16,
    b"\xd9\xa1\xd9\xa2\n",
    b"5 W\n",
    b"0\n",
    b"0 J 0 us\n",
    b"12 34\n",
    b"package-0\n",
    b"Module Power Socket 99999999999999999999\n",
    b"Esocket-1\n",
    b"../../../../etc/passwd\n",
]


class Chaos:
    """The tree below ``sysfs``, changed by ``rng``; remembers each file's honest content."""

    def __init__(self, sysfs: Path, rng: random.Random, *, perf: bool = True) -> None:
        two_sockets(sysfs, range_uj=rng.choice([65_532_610_987, 262_143_328_850, 1_000_000]))
        FakeCray(sysfs, {"energy": 900, "cpu_energy": 200, "memory_energy": 50, "accel0_energy": 100})
        for number, what in enumerate(("Module", "Grace", "CPU", "SysIO")):
            grace(sysfs, number, what, 0, 100)
        chip(sysfs, 4, "amd_energy", {"energy1_label": "Esocket0", "energy1_input": "1000"})
        amd_gpu(sysfs, 5, 0xC1, 300)
        amd_gpu(sysfs, 6, 0xC6, 0, kind="0x7408")
        kfd(sysfs, [0xC1, 0xC6])
        if perf:
            # counts the time of a real CPU here, which has no truth in simulated time
            perf_source(sysfs)
        self._take(sysfs, rng)

    @classmethod
    def of(cls, sysfs: Path, rng: random.Random) -> Chaos:
        """The tree that is there already."""
        chaos = cls.__new__(cls)
        chaos._take(sysfs, rng)
        return chaos

    def _take(self, sysfs: Path, rng: random.Random) -> None:
        self.rng = rng
        self.ranges: dict[Path, int] = {}
        for path in sysfs.rglob("max_energy_range_uj"):
            if not path.is_symlink():
                self.ranges[path.with_name("energy_uj")] = int(path.read_bytes())
        self.files = [path for path in sorted(sysfs.rglob("*")) if path.is_file() and not path.is_symlink()]
        self.honest = {path: path.read_bytes() for path in self.files}

    def stir(self, share: float) -> None:
        """Change a share of the files."""
        for path in self.files:
            if self.rng.random() >= share:
                continue
            kind = self.rng.randrange(6)
            if kind == 0:
                path.unlink(missing_ok=True)
                continue
            data = self.honest[path]
            if kind == 1:
                data = self.rng.choice(GARBAGE)
            elif kind == 2:
                data = self.rng.randbytes(self.rng.randrange(40))
            elif kind == 3 and data.split()[:1] and data.split()[0].isdigit():
                data = b"%d%s\n" % (self.rng.getrandbits(self.rng.randrange(1, 70)), b" J 1 us" * (b" J" in data))
            path.write_bytes(data)

    def advance(self, seconds: int) -> None:
        """Let the honest counters run on at 100 W."""
        for path, data in self.honest.items():
            fields = data.split()
            if path.name in ("energy_uj", "energy1_input") and fields:
                count = int(fields[0]) + 100_000_000 * seconds
                if path in self.ranges:
                    count %= self.ranges[path] + 1
                self.honest[path] = b"%d\n" % count
            elif b" J " in data:
                self.honest[path] = b"%d J 1 us\n" % (int(fields[0]) + 100 * seconds)

    def stir_at_random(self, _tick: int) -> None:
        """What happens at a tick of the widest of these tests."""
        self.advance(1)
        self.stir(0.15)


class Clock:
    """The JobWait and the clock; ``at_tick`` is called with the number of each tick."""

    def __init__(self, at_tick: Callable[[int], None]) -> None:
        self.now_ns = 1000 * S
        self.ticks = 0
        self.at_tick = at_tick

    def record_requested(self) -> bool:
        return False

    def wait_until(self, at_ns: int) -> str | None:
        if at_ns > self.now_ns:
            self.now_ns = at_ns
            self.ticks += 1
            self.at_tick(self.ticks)
        return "stopped" if self.ticks >= TICKS else None


class NoUsage:
    cpu_time_source = None

    def restart(self) -> None:
        pass

    def sample_memory(self) -> None:
        pass

    def header(self) -> dict[str, object]:
        return {"sources": {}, "reasons": {}}

    def read(self) -> dict[str, object]:
        return {"job_cpu_us": None, "node_busy_us": None, "memory_b": None, "memory_peak_b": None}


@pytest.fixture(autouse=True)
def _fresh_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_logged", set())


def run(
    folder: Path, environ: dict[str, str], at_tick: Callable[[int], None]
) -> tuple[list[dict[str, Any]], SensorSelection]:
    """The lines of a sidecar that samples the tree in ``folder``, and its selection."""
    clock = Clock(at_tick)
    proc = str(folder / "proc")
    place = SensorContext(
        str(folder / "sys"), proc, environ, lambda: clock.now_ns, in_slurm=bool(environ), exclusive=True
    )
    path = folder / "17.0.n1.jsonl"
    loop = Loop(
        SamplingConfig(S, 3 * S, True, proc),
        Identity(run_id="r", job_id="17", cluster="lab", node="n1", in_slurm=True),
        primary_sensors(place),
        cast(Usage, NoUsage()),
        Writer(str(path)),
        cast(JobWait, clock),
        lambda: clock.now_ns,
        fallback_sensors(place),
    )
    loop.run()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["kind"] == "header"
    assert lines[-1]["kind"] == "end"
    _check(lines)
    return lines, loop._selection


@pytest.mark.parametrize("seed", range(25))
def test_no_crash_and_no_invented_joule(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    chaos = Chaos(tmp_path / "sys", rng)
    chaos.stir(rng.choice([0.0, 0.1, 0.5]))
    environ: dict[str, str] = rng.choice([{}, {"SLURM_JOB_ID": "17", "ROCR_VISIBLE_DEVICES": "0"}])
    lines, selection = run(tmp_path, environ, chaos.stir_at_random)
    entries = [entry for source in selection._sources for entry in source.entries]
    limits = {entry.channel.detail: entry.channel.max_w for entry in entries}
    _check_energy(lines, limits)


NO_COUNT: dict[str, list[bytes | None]] = {
    "garbage": [b"nan\n", b"0x10\n", b"1e9\n", b"12 34\n", b"5 W\n", b"package-0\n", b"\x00\xff\xfe\x80" * 16],
    "empty": [b"", b"\n", b" \n", b"\x00" * 64],
    "huge": [b"9" * 5000, b"99999999999999999999\n", b"18446744073709551615\n", b"9" * 23 + b" J 1 us\n"],
    "negative": [b"-1\n", b"-5 J 1 us\n", b"-9223372036854775808\n", b"-0\n"],
    "missing": [None],
}
"""What no meter shows that works, by the words of what can go wrong; None for a file that is not there."""


@pytest.mark.parametrize("kind", NO_COUNT)
def test_invalid_counts_are_refused(kind: str) -> None:
    assert [parse_count(content) for content in NO_COUNT[kind] if content is not None] == [
        None for content in NO_COUNT[kind] if content is not None
    ]


def test_counts_are_taken() -> None:
    assert [parse_count(text) for text in (b"0\n", b"007 \n", b"%d\n" % (2**63 - 1))] == [0, 7, 2**63 - 1]


class Damage:
    """Spells in which single files of ``chaos`` show one kind of ``NO_COUNT``, each file on its own."""

    def __init__(self, chaos: Chaos, kind: str, longest: int, until: int) -> None:
        self.chaos = chaos
        self.contents = NO_COUNT[kind]
        self.longest = longest
        self.until = until
        self.left: dict[Path, int] = {}
        self.shown: dict[Path, bytes | None] = {}
        self.spells = 0

    def at_tick(self, tick: int) -> None:
        self.chaos.advance(1)
        rng = self.chaos.rng
        for path in self.chaos.files:
            left = self.left.get(path, 0)
            if not left and tick < self.until and rng.random() < 0.1:
                left = rng.randint(1, min(self.longest, self.until - tick))
                self.spells += 1
            self.left[path] = max(0, left - 1)
            self._show(path, rng.choice(self.contents) if left else self.chaos.honest[path])

    def _show(self, path: Path, data: bytes | None) -> None:
        if path in self.shown and self.shown[path] == data:
            return
        self.shown[path] = data
        if data is not None:
            path.write_bytes(data)
        elif path.exists():
            # whoever has it open finds nothing in it from now on
            path.write_bytes(b"")
            path.unlink()


@pytest.mark.parametrize("kind", NO_COUNT)
@pytest.mark.parametrize("seed", range(2))
def test_short_failures_neither_lose_nor_add_energy(tmp_path: Path, kind: str, seed: int) -> None:
    """A counter that shows no count for up to 8 s, again and again, has all its joules in the end: 100 W for the
    whole minute, exactly, from AMD's range, which wraps meanwhile."""
    rng = random.Random(seed)
    two_sockets(tmp_path / "sys", range_uj=65_532_610_987)
    for path in (tmp_path / "sys").rglob("energy_uj"):
        path.write_text(f"{65_532_610_987 - rng.randrange(5_000_000_000)}\n")
    chaos = Chaos.of(tmp_path / "sys", rng)
    damage = Damage(chaos, kind, 8, TICKS - 1)
    lines, _ = run(tmp_path, {}, damage.at_tick)
    assert damage.spells > 50
    assert sum(line["kind"] == "header" for line in lines) == 1
    assert lines[-1]["energy_uj"] == [100_000_000 * TICKS] * 7
    assert lines[-1]["measured_ns"] == [TICKS * S] * 7
    assert sum(lines[-1]["errors"]) > 50
    assert "resets" not in lines[-1]
    assert "gaps" not in lines[-1]


@pytest.mark.parametrize("kind", NO_COUNT)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.slow
def test_energy_is_unknown_or_true_whatever_fails(tmp_path: Path, kind: str, seed: int) -> None:
    """All meters of the tree, spells of up to half a minute, sources that are given up for lesser ones, files that
    are missing at the start and appear: in every record each energy is null or the true power times the time measured.
    """
    rng = random.Random(seed)
    chaos = Chaos(tmp_path / "sys", rng, perf=False)
    environ: dict[str, str] = rng.choice([{}, {"SLURM_JOB_ID": "17", "ROCR_VISIBLE_DEVICES": "0"}])
    damage = Damage(chaos, kind, 30, TICKS)
    if seed % 2:
        # some of it is there from the start, and gone later: files that appear
        for tick in range(3):
            damage.at_tick(tick)
    lines, selection = run(tmp_path, environ, damage.at_tick)
    entries = [entry for source in selection._sources for entry in source.entries]
    watts = {entry.channel.detail: _true_watts(chaos, entry.channel) for entry in entries}
    known = unknown = 0
    header: dict[str, Any] = {}
    for line in lines:
        if line["kind"] == "header":
            header = line
            continue
        for channel, energy_uj, measured_ns in zip(
            header["channels"], line["energy_uj"], line["measured_ns"], strict=True
        ):
            unknown += energy_uj is None
            if energy_uj is not None:
                known += energy_uj > 0
                assert energy_uj == watts[channel["detail"]] * measured_ns // 1000, channel
    assert unknown > 0
    assert known > 0


def _true_watts(chaos: Chaos, channel: Channel) -> int:
    """Counters run at 100 W; a meter of power shows its own."""
    if channel.quantity != POWER_UW:
        return 100
    path = Path(channel.detail.partition(" (")[0])
    return int(chaos.honest[path.resolve()]) // 1_000_000


def _check(lines: list[dict[str, Any]]) -> None:
    """A reader takes every header, and every record has the channels of its header."""
    count = 0
    for line in lines:
        if line["kind"] == "header":
            bad: Counter[str] = Counter()
            parse_header(line, SampledNode(line["run_id"], JobKey("17", 0), line["node"]), bad)
            assert not bad
            count = len(line["channels"])
            names = [(c["component"], c["source"], c["domain"]) for c in line["channels"]]
            assert len(names) == len(set(names))
        else:
            assert [len(line[key]) for key in ("energy_uj", "measured_ns", "errors", "max_w")] == [count] * 4


def _check_energy(lines: list[dict[str, Any]], limits: dict[str, int]) -> None:
    header: dict[str, Any] = {}
    last: dict[str, Any] = {}
    reads = 0
    for line in lines:
        if line["kind"] == "header":
            header, last, reads = line, {}, 0
            continue
        reads += TICKS
        for index, channel in enumerate(header["channels"]):
            energy_uj, measured_ns = line["energy_uj"][index], line["measured_ns"][index]
            assert 0 <= measured_ns <= TICKS * S
            if energy_uj is None:
                continue
            assert measured_ns > 0 or energy_uj == 0
            max_w = limits[channel["detail"]]
            # each pair of readings may be late by 0.2 s
            assert 0 <= energy_uj <= max_w * (measured_ns + reads * 200_000_000) // 1000
            if last and last["energy_uj"][index] is not None:
                assert energy_uj >= last["energy_uj"][index]
        last = line


@pytest.mark.parametrize("seed", range(10))
def test_node_without_anything_sound_gives_no_energy(tmp_path: Path, seed: int) -> None:
    """Where every file is garbage from the start, no channel has energy, and the reasons are told."""
    rng = random.Random(seed)
    sysfs = tmp_path / "sys"
    chaos = Chaos(sysfs, rng)
    for path in chaos.files:
        if "max_energy" not in path.name and path.name not in ("name",):
            path.write_bytes(rng.choice([b"", b"-1\n", b"nan\n", b"\xff\n", b"1e3\n"]))
    place = SensorContext(str(sysfs), str(tmp_path), {}, lambda: 0, in_slurm=False)
    selection = SensorSelection(primary_sensors(place), fallback_sensors(place), lambda: 0, lambda: False)
    assert selection.entries == []
    said = {(entry.component, entry.source) for entry in selection.absent}
    assert {("cpu", "rapl-powercap"), ("cpu", "rapl-perf"), ("dram", "rapl-powercap")} <= said


def test_files_opened_stay_few_through_errors(tmp_path: Path) -> None:
    """Reopening after errors leaks no descriptor."""
    chaos = Chaos(tmp_path / "sys", random.Random(1))
    place = SensorContext(str(tmp_path / "sys"), str(tmp_path), {}, lambda: 0, in_slurm=False)
    selection = SensorSelection(primary_sensors(place), fallback_sensors(place), lambda: 0, lambda: False)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        chaos.stir(0.3)
        selection.sample(1)
    assert len(os.listdir("/proc/self/fd")) <= before
