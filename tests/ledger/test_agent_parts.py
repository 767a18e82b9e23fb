"""Agents' files that tasks read: the ledger has the same rows as if the sync had read them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_agent import FakeAgent
from fake_spool import SECOND, START_NS, FakeSpool

from hpcfrugal.api.agent_map import read_agents
from hpcfrugal.ledger.agent_parts import FileToRead, agent_files_to_read, read_part, take_part
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.sync import sync

HOURS = 3600
NODES = ("n1", "n2", "n3", "n4")


def nodes(spool: FakeSpool) -> list[FakeAgent]:
    """Four nodes with jobs over two days; one has a line that does not count."""
    agents = []
    for number, node in enumerate(NODES):
        agent = FakeAgent(spool.root, node, start_ns=START_NS + number * SECOND)
        agent.start(str(900 + number), 40 + number)
        agent.advance(2 * HOURS)
        agent.start("950", 7)
        agent.advance(20 * HOURS)
        agent.end("950")
        agent.begin()
        agent.advance(HOURS)
        agents.append(agent)
    with agents[1].path.open("a") as file:
        file.write('{"kind": "record", "energy_uj": [-1]}\n')
    return agents


def parts_of(spool: FakeSpool, folder: Path, tasks: int) -> list[Path]:
    files = agent_files_to_read(spool.ledger, spool.root)
    assert len(files) == 2 * len(NODES)
    folders = [folder / f"part-{number}" for number in range(tasks)]
    read = [read_part(files[number::tasks], os.getuid(), str(each)) for number, each in enumerate(folders)]
    assert sum(read) == len(files)
    return folders


@pytest.mark.parametrize("tasks", [1, 3])
def test_parts_give_the_rows_of_a_sync(spool: FakeSpool, tmp_path: Path, tasks: int) -> None:
    agents = nodes(spool)
    sync(spool.root, spool.ledger)
    wanted = dump(spool.ledger)
    spool.ledger.unlink()
    for folder in parts_of(spool, tmp_path, tasks):
        take_part(spool.ledger, spool.root, folder)
    assert agent_files_to_read(spool.ledger, spool.root) == []
    assert sync(spool.root, spool.ledger).files_read == 0
    assert dump(spool.ledger) == wanted
    assert any("agent_jobs" in line for line in wanted)
    agents[0].advance(600)
    agents[0].end("900")
    assert sync(spool.root, spool.ledger).files_read == 1
    grown = dump(spool.ledger)
    spool.ledger.unlink()
    sync(spool.root, spool.ledger)
    assert grown == dump(spool.ledger) != wanted


def test_files_that_grow_or_change_owner_meanwhile_are_right_after_the_sync(spool: FakeSpool, tmp_path: Path) -> None:
    agents = nodes(spool)
    (folder,) = parts_of(spool, tmp_path, 1)
    agents[0].advance(600)
    agents[1].path.unlink()
    agents[1].path.symlink_to(agents[2].path)
    take_part(spool.ledger, spool.root, folder)
    sync(spool.root, spool.ledger)
    found = dump(spool.ledger)
    spool.ledger.unlink()
    sync(spool.root, spool.ledger)
    assert found == dump(spool.ledger)


def test_a_task_reads_no_file_of_somebody_else(spool: FakeSpool, tmp_path: Path) -> None:
    agent = nodes(spool)[0]
    there = FileToRead(str(agent.path), "n1/2026-11-22.jsonl", "n1", "2026-11-22", keeps_place=False)
    if os.getuid() == 0:
        os.chown(agent.path, 12345, -1)
    assert read_part([there, there._replace(path=f"{agent.path}.gone")], 54321, str(tmp_path / "part")) == 0


class Messages:
    """Keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str, limit: int = 1000) -> None:
        self.warnings.append(text)

    note = warn

    def waiting(self) -> None:
        raise AssertionError

    @contextmanager
    def progress(self, what: str) -> Iterator[Any]:
        yield None


@pytest.mark.slow
def test_processes_of_this_machine_read_them(spool: FakeSpool) -> None:
    nodes(spool)
    sync(spool.root, spool.ledger)
    wanted = dump(spool.ledger)
    spool.ledger.unlink()
    messages = Messages()
    assert read_agents("local", 2, {}, spool.root, spool.ledger, messages) == 2 * len(NODES)
    assert messages.warnings == []
    assert sync(spool.root, spool.ledger).files_read == 0
    assert dump(spool.ledger) == wanted
    assert sorted(path.name for path in spool.root.iterdir()) == ["agents"]
