"""The operator's agent and the log that it keeps, as files on disk."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from hpcfrugal.core.errors import SourceError
from hpcfrugal.core.section import ValueType, required
from hpcfrugal.meters import powerlog
from hpcfrugal.meters.agent import Agent
from hpcfrugal.meters.base import SECOND_NS, MeterAnswer, PowerSeries, Refusal
from hpcfrugal.meters.powerlog import LoggedMeter, append, log_file

T0 = 1_700_000_000 * SECOND_NS


class FakeMeter(LoggedMeter):
    """Watts by node; a text is why there are none. ``hang`` holds one node up until it is set."""

    __setattr__ = object.__setattr__

    watts: dict[str, float | str] = required(ValueType(dict))

    def __new__(cls, **values: object) -> FakeMeter:
        made = super().__new__(cls)
        vars(made).update(hang={}, calls=[])
        return made

    def power_w(self, node: str) -> float:
        self.calls.append(node)
        if node in self.hang:
            self.hang[node].wait(10)
        value = self.watts[node]
        if isinstance(value, str):
            raise SourceError(value)
        return value


def fake(log: Path, watts: dict[str, float | str]) -> FakeMeter:
    return FakeMeter(**{"name": "bmc", "kind": "redfish", "log": log, "owner": os.geteuid(), "watts": watts})


def meter(log: Path, **changes: object) -> LoggedMeter:
    return LoggedMeter(**{"name": "bmc", "kind": "redfish", "log": log, "owner": os.getuid(), **changes})


def read(log: Path, start_ns: int, end_ns: int, node: str = "n1") -> MeterAnswer | None:
    return meter(log).fetch([node], start_ns, end_ns).get(node)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "power"


def test_one_round_is_written_and_read_back(log: Path) -> None:
    said: list[str] = []
    old = os.umask(0o077)
    try:
        agent = Agent(fake(log, {"n1": 300.0, "n2": "no answer", "a/b": 5.0}), ["n1", "n2", "a/b"], said.append)
        before_ns = time.time_ns()
        assert agent.once() == {"n1": 300.0, "a/b": 5.0}
    finally:
        os.umask(old)
    assert said == ["n2: no answer"]
    path = log_file(log, "n1", before_ns)
    assert path.stat().st_mode & 0o777 == 0o644
    assert log.stat().st_mode & 0o777 == path.parent.stat().st_mode & 0o777 == 0o755
    line = json.loads(path.read_text())
    assert before_ns <= line["wall_ns"] <= time.time_ns()
    assert line == {"wall_ns": line["wall_ns"], "power_w": 300.0, "source": "redfish"}
    answer = read(log, before_ns, time.time_ns())
    assert answer == PowerSeries("power", [(line["wall_ns"], 300.0)])
    assert read(log, before_ns, time.time_ns(), "n2") is None
    assert read(log, before_ns, time.time_ns(), "a/b") is not None


def test_a_failure_and_its_end_are_each_reported_once(log: Path) -> None:
    said: list[str] = []
    source = fake(log, {"n1": "down"})
    agent = Agent(source, ["n1"], said.append)
    for _ in range(3):
        agent.once()
    source.watts["n1"] = "locked out"
    agent.once()
    source.watts["n1"] = 100.0
    agent.once()
    agent.once()
    assert said == ["n1: down", "n1: locked out", "n1: reading again"]
    assert len(next(log.glob("*/n1.jsonl")).read_text().splitlines()) == 2


def test_a_log_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "power").write_text("a file")
    assert Agent(fake(tmp_path / "power", {"n1": 5.0}), ["n1"], said.append).once() == {}
    assert len(said) == 1
    assert said[0].startswith("n1: ")


def test_a_bmc_that_hangs_does_not_delay_the_others(log: Path) -> None:
    source = fake(log, {"n1": 100.0, "n2": 200.0})
    source.hang["n2"] = threading.Event()
    stop = threading.Event()
    agent = Agent(source, ["n1", "n2"], lambda _: None)
    thread = threading.Thread(target=agent.run, args=(0.1, stop.wait))
    thread.start()
    until = time.monotonic() + 10
    while source.calls.count("n1") < 4 and time.monotonic() < until:
        time.sleep(0.02)
    stop.set()
    # That of n2 goes on until it is told to end.
    thread.join(30)
    assert not thread.is_alive()
    source.hang["n2"].set()
    assert source.calls.count("n1") >= 4
    assert source.calls.count("n2") == 1
    assert len(next(log.glob("*/n1.jsonl")).read_text().splitlines()) >= 3


def fill(log: Path, count: int, step_s: int = 10, start_ns: int = T0) -> None:
    for k in range(count):
        append(log, "n1", start_ns + k * step_s * SECOND_NS, 100.0 + k, "redfish")


def test_a_window_of_a_long_log_is_found(log: Path) -> None:
    fill(log, 2000)
    for first, last in ((0, 3), (700, 705), (1990, 1999)):
        answer = read(log, T0 + first * 10 * SECOND_NS, T0 + last * 10 * SECOND_NS)
        assert isinstance(answer, PowerSeries)
        assert [power_w for _, power_w in answer.points] == [100.0 + k for k in range(first, last + 1)]
    assert read(log, T0 + 30_000 * SECOND_NS, T0 + 40_000 * SECOND_NS) is None
    assert read(log, T0 - 100 * SECOND_NS, T0 - SECOND_NS) is None


def test_a_window_over_the_end_of_a_month(log: Path) -> None:
    # 2023-11-30T23:59:50Z
    fill(log, 4, start_ns=1_701_388_790 * SECOND_NS)
    assert sorted(path.parent.name for path in log.glob("*/n1.jsonl")) == ["2023-11", "2023-12"]
    answer = read(log, 1_701_388_700 * SECOND_NS, 1_701_388_900 * SECOND_NS)
    assert isinstance(answer, PowerSeries)
    assert [power_w for _, power_w in answer.points] == [100.0, 101.0, 102.0, 103.0]


def test_torn_lines_and_other_sources_are_left_out(log: Path) -> None:
    fill(log, 1)
    path = log_file(log, "n1", T0)
    with path.open("a") as file:
        file.write('{"wall_ns":17000000\n[]\n\n{"wall_ns":true,"power_w":1,"source":"redfish"}\n')
    append(log, "n1", T0 + 10 * SECOND_NS, 7.0, "ipmi-dcmi")
    append(log, "n1", T0 + 20 * SECOND_NS, 102.0, "redfish")
    answer = read(log, T0, T0 + 60 * SECOND_NS)
    assert answer == PowerSeries("power", [(T0, 100.0), (T0 + 20 * SECOND_NS, 102.0)])


def test_a_number_beyond_all_bounds_is_left_out(log: Path) -> None:
    append(log, "n1", T0, 100.0, "redfish")
    with log_file(log, "n1", T0).open("a") as file:
        file.write(json.dumps({"wall_ns": T0 + 1, "power_w": 10**400, "source": "redfish"}) + "\n")
    assert read(log, T0, T0 + SECOND_NS) == PowerSeries("power", [(T0, 100.0)])


def test_a_full_month_takes_no_more(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(powerlog, "MAX_MONTH_BYTES", 150)
    said: list[str] = []
    agent = Agent(fake(log, {"n1": 5.0}), ["n1"], said.append, clock_ns=lambda: T0)
    for _ in range(6):
        agent.once()
    assert len(said) == 1
    assert "is full" in said[0]
    assert log_file(log, "n1", T0).stat().st_size < 300


@pytest.mark.parametrize(("size_mib", "full"), [(256, False), (257, True)])
def test_a_month_is_full_above_256_mib(log: Path, size_mib: int, full: bool) -> None:
    append(log, "n1", T0, 100.0, "redfish")
    os.truncate(log_file(log, "n1", T0), size_mib * 2**20)  # sparse
    if full:
        with pytest.raises(OSError, match="is full"):
            append(log, "n1", T0, 100.0, "redfish")
    else:
        append(log, "n1", T0, 100.0, "redfish")


def test_a_line_that_a_full_disk_cut_spoils_no_other(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(log, 1)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:20]))
        with pytest.raises(OSError, match="was not written completely"):
            append(log, "n1", T0 + 10 * SECOND_NS, 101.0, "redfish")
    append(log, "n1", T0 + 20 * SECOND_NS, 102.0, "redfish")
    assert read(log, T0, T0 + 60 * SECOND_NS) == PowerSeries("power", [(T0, 100.0), (T0 + 20 * SECOND_NS, 102.0)])


def test_files_that_users_could_write_do_not_count(log: Path, tmp_path: Path) -> None:
    fill(log, 2)
    window = (T0, T0 + 60 * SECOND_NS)
    with pytest.raises(SourceError, match=r"belongs to uid \d+, not to uid 12345"):
        meter(log, owner=12345).fetch(["n1"], *window)
    month = log_file(log, "n1", T0).parent
    month.chmod(0o777)
    with pytest.raises(SourceError, match="can be written by other users: chmod go-w"):
        read(log, *window)
    month.chmod(0o755)
    path = log_file(log, "n1", T0)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    answer = read(log, *window)
    assert isinstance(answer, Refusal)
    assert "a symbolic link" in answer.reason
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        read(tmp_path / "none", *window)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_file_system_that_makes_another_user_of_root(log: Path) -> None:
    """What the agent makes there belongs to that user, whom the settings name."""
    month = log_file(log, "n1", T0).parent
    month.mkdir(parents=True)
    for folder in (log, month):
        os.chown(folder, 12345, -1)
    append(log, "n1", T0, 100.0, "redfish", 12345)
    os.chown(log_file(log, "n1", T0), 12345, -1)
    assert meter(log, owner=12345).fetch(["n1"], T0, T0 + SECOND_NS) == {"n1": PowerSeries("power", [(T0, 100.0)])}


@pytest.mark.parametrize("what", ["log", "month"])
@pytest.mark.parametrize("how", ["link", "open", "other"])
def test_nothing_is_written_where_others_can_lay_a_link(log: Path, tmp_path: Path, what: str, how: str) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    log.mkdir()
    month = log_file(log, "n1", T0).parent
    folder = log if what == "log" else month
    if how == "link":
        if what == "log":
            log.rmdir()
        folder.symlink_to(target)
    else:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777 if how == "open" else 0o755)
        if how == "other":
            if os.getuid() != 0:
                pytest.skip("only root can give files away")
            os.chown(folder, 12345, -1)
    with pytest.raises(OSError, match=r"belongs to uid|written by other users|Not a directory") as caught:
        append(log, "n1", T0, 100.0, "redfish")
    assert caught.value.filename == str(folder)
    assert list(target.iterdir()) == []
    assert target.stat().st_mode & 0o777 == 0o700


def test_a_file_of_another_user_in_the_right_folder(log: Path) -> None:
    fill(log, 2)
    os.chown(log_file(log, "n1", T0), 12345, 12345)
    answer = read(log, T0, T0 + 60 * SECOND_NS)
    assert isinstance(answer, Refusal)
    assert "belongs to uid 12345" in answer.reason


def test_32_nodes_are_read_at_once(log: Path) -> None:
    nodes = [f"n{number}" for number in range(40)]
    meter = fake(log, dict.fromkeys(nodes, 100.0))
    go_on = threading.Event()
    meter.hang = dict.fromkeys(nodes, go_on)
    found: dict[str, float] = {}
    agent = Agent(meter, nodes, [].append)
    thread = threading.Thread(target=lambda: found.update(agent.once()))
    thread.start()
    try:
        until = time.monotonic() + 10
        while len(meter.calls) < 32 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(meter.calls) == 32
    finally:
        go_on.set()
        thread.join()
    assert found == dict.fromkeys(nodes, 100.0)
