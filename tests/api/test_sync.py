"""How long a sync waits, how far it looks back, and how much it reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_spool import FakeSpool

from hpcfrugal.api import sync as api_sync
from hpcfrugal.api.messages import LoggedMessages
from hpcfrugal.api.sync import Update
from hpcfrugal.carbon import history
from hpcfrugal.ledger import footprints
from hpcfrugal.settings.config import Config
from hpcfrugal.slurm import backend, node_facts, states

NOW_NS = 1_795_248_000 * 10**9


@dataclass
class Warnings(LoggedMessages):
    """Messages that are kept."""

    warned: list[str] = field(default_factory=list)

    def warn(self, text: str, limit: int = 1000) -> None:
        self.warned.append(text[:limit])


def update(folder: Path, **more: Any) -> Update:
    spool = FakeSpool(folder)
    config = Config(spool=spool.root, ledger=spool.ledger)
    return Update(config, spool.root, spool.ledger, more.pop("messages", LoggedMessages()), **more)


@pytest.mark.parametrize(("wait_long", "slurm_s", "lock_s"), [(False, 5.0, 5.0), (True, None, 60.0)])
def test_how_long_slurm_and_another_sync_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_long: bool, slurm_s: float | None, lock_s: float
) -> None:
    found: dict[str, Any] = {}
    monkeypatch.setattr(backend, "SlurmBackend", lambda timeout_s: found.setdefault("slurm_s", timeout_s))
    monkeypatch.setattr(states, "refresh_states", lambda *_: states.Refreshed())
    monkeypatch.setattr(node_facts, "store_nodes", lambda *_: [])
    monkeypatch.setattr(api_sync.engine, "sync", lambda *args, **_: found.setdefault("lock_s", args[4]))
    update(tmp_path, offline=True, wait_long=wait_long).run()
    assert found == {"slurm_s": slurm_s, "lock_s": lock_s}


def test_intensities_of_the_last_60_days_are_fetched_and_20_problems_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    since_ns: list[int] = []
    messages = Warnings()

    def times_used(_connection: object, _defaults: object, from_ns: int) -> list[str]:
        since_ns.append(from_ns)
        return ["a time"]

    monkeypatch.setattr(footprints, "times_used", times_used)
    monkeypatch.setattr(history, "gather", lambda *_: SimpleNamespace(troubles=["down"] * 30, changed=False))
    monkeypatch.setattr(api_sync, "time", SimpleNamespace(time_ns=lambda: NOW_NS))
    update(tmp_path, messages=messages).run()
    assert since_ns == [NOW_NS - 60 * 86_400 * 10**9]
    assert len([text for text in messages.warned if text == "down"]) == 20
