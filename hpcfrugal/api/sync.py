"""Bringing a ledger up to date: Slurm, power meters and carbon intensities are queried, then the spool is read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hpcfrugal.api.messages import Messages
from hpcfrugal.core.cache import Cache
from hpcfrugal.core.directories import cache_dir
from hpcfrugal.core.errors import InputError, SetupError
from hpcfrugal.core.format import count
from hpcfrugal.core.text import plain
from hpcfrugal.ledger import sync as engine
from hpcfrugal.ledger.due import Defaults
from hpcfrugal.ledger.sealing import unsealed_runs
from hpcfrugal.ledger.spools import LedgerSpool
from hpcfrugal.ledger.store import BUSY_TIMEOUT_S
from hpcfrugal.settings.config import Config
from hpcfrugal.spool import RunDir, iter_runs

SHORT_WAIT_S = 5.0
"""How long a report waits for another sync."""

TROUBLES_SHOWN = 20
"""Messages of one kind that are given."""

_LOOK_BACK_NS = 60 * 86_400 * 10**9
"""Carbon intensities of older jobs are not fetched again."""


_REPEAT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class _Given:
    """When a warning was given, in seconds since 1970."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Update:
    """Bringing one ledger up to date with one spool, and with those ``of_users`` of a site.

    ``offline``: neither meters nor carbon intensity providers are queried. Without ``wait_long`` the wait for Slurm and
    for another sync is short. ``everything``: runs that are over are looked at too, and all files are read again.
    """

    config: Config
    spool: Path
    ledger: Path
    messages: Messages
    offline: bool = False
    wait_long: bool = True
    everything: bool = False
    of_users: Sequence[LedgerSpool] = ()

    @property
    def defaults(self) -> Defaults:
        """What the settings say of runs without a zone or PUE of their own."""
        return Defaults.of_settings(self.config)

    def run(self) -> tuple[engine.SyncResult, bool]:
        """Query Slurm and the meters, read the spool, then fetch carbon intensities.

        Returns also whether Slurm answered. Raises ``DataError`` where the ledger is damaged, ``SetupError`` where it
        cannot be opened or written.
        """
        runs = None if self.everything else unsealed_runs(self.ledger, self.spool)
        answered = self.query_slurm(runs)
        self.record_local_ends(runs)
        if not self.offline:
            self.query_meters()
        result = self.read_spool()
        if not self.offline:
            self.fetch_intensities()
        return result, answered

    def query_ends(self, runs: Iterable[RunDir]) -> None:
        """Query Slurm as ``run`` does, if it was not yet asked about the nodes of some of these runs: without them
        energy on shared nodes lacks the idle power. Raises as ``query_slurm``.
        """
        from hpcfrugal.slurm.node_facts import lacks_nodes

        wanted, unsealed = list(runs), unsealed_runs(self.ledger, self.spool)
        if unsealed is not None:
            open_runs = {run.run_id for run in unsealed}
            wanted = [run for run in wanted if run.run_id in open_runs]
        if due := [run for run in wanted if lacks_nodes(run)]:
            self.query_slurm(due)

    def read_spool(self, *, as_before: bool = False) -> engine.SyncResult:
        """Read what is new in the spool, and query nothing; ``as_before``: by the settings of the last sync, where
        those of now are wrong. Raises as ``run``."""
        with self.messages.progress("Reading the spool") as progress:
            return engine.sync(
                self.spool,
                self.ledger,
                progress,
                self.messages.waiting,
                self._wait_s,
                everything=self.everything,
                defaults=None if as_before else self.defaults,
                of_users=self.of_users,
            )

    @property
    def _wait_s(self) -> float:
        return BUSY_TIMEOUT_S if self.wait_long else SHORT_WAIT_S

    def rebuild(self, *, drop_vanished: bool) -> tuple[engine.SyncResult, bool]:
        """Build the ledger anew from the spool. Returns also whether Slurm answered. Raises as ``engine.rebuild``."""
        answered = self.query_slurm()
        self.record_local_ends()
        self.query_meters()
        with self.messages.progress("Rebuilding the ledger") as progress:
            result = engine.rebuild(
                self.spool,
                self.ledger,
                progress,
                self.messages.waiting,
                drop_vanished=drop_vanished,
                defaults=self.defaults,
            )
        return result, answered

    def query_slurm(self, runs: Sequence[RunDir] | None = None) -> bool:
        """Record Slurm's states of unfinished jobs, and the nodes of finished ones, in the spool: of ``runs``, or of
        all that are in it.

        The ledger can be built without them. Returns whether Slurm answered, if there was anything to ask. Raises
        InputError for invalid settings of nodes.
        """
        from hpcfrugal.settings.idle_power import read_idle_powers
        from hpcfrugal.slurm.backend import SHORT_S, SlurmBackend
        from hpcfrugal.slurm.node_facts import store_nodes
        from hpcfrugal.slurm.states import refresh_states

        powers = read_idle_powers(self.config.tables("nodes"))
        backend = SlurmBackend(None if self.wait_long else SHORT_S)
        try:
            refreshed = refresh_states(self.spool, backend, runs)
            for line in refreshed.notes:
                self.messages.note(line)
            for line in [*refreshed.warnings, *store_nodes(self.spool, powers, backend, runs)]:
                self.messages.warn(line)
        except SetupError as error:
            reason = " ".join(plain(error.message, 300).split())
            self.messages.warn(f"Slurm was not queried for unfinished jobs: {reason}")
            return False
        return True

    def record_local_ends(self, runs: Sequence[RunDir] | None = None) -> None:
        """Record in the spool which jobs of this machine were killed, of ``runs`` or of all that are in it."""
        local = [run for run in (iter_runs(self.spool) if runs is None else runs) if run.local_json.exists()]
        if not local:
            return
        from hpcfrugal.local.states import record_ends

        for run in local:
            with suppress(OSError):  # the ledger's sync reports what it cannot read
                record_ends(run)

    def query_meters(self) -> None:
        """Record the readings of the configured meters for finished jobs in the spool."""
        tables = self.config.tables("meters")
        if not tables:
            return
        from hpcfrugal.meters.base import Meter
        from hpcfrugal.meters.collect import collect
        from hpcfrugal.meters.settings import read_meters

        meters: list[Meter] = []
        for name, table in tables.items():
            try:
                meters += read_meters({name: table}).values()
            except InputError as error:
                # A mistake in one must not disable the others, nor the report; `doctor` exits with an error.
                for problem in error.problems:
                    self.messages.warn(f"meter {plain(name)} is not read: {plain(str(problem), 300)}")
        if not meters:
            return
        found = collect(self.spool, meters, time.time_ns())
        for line in found.troubles[:TROUBLES_SHOWN]:
            self.messages.warn(line)
        if found.pending:
            nodes = count(found.pending, "node")
            self.messages.note(f"meters have no complete readings for {nodes} yet; the next sync tries again")

    def fetch_intensities(self) -> None:
        """Record the actual carbon intensities for the times of jobs in the spool, and read them."""
        from hpcfrugal.ledger.footprints import times_used
        from hpcfrugal.ledger.store import open_ledger

        with open_ledger(self.ledger) as connection:
            used = list(times_used(connection, self.defaults, time.time_ns() - _LOOK_BACK_NS))
        if not used:
            return
        from hpcfrugal.carbon.history import gather

        found = gather(self.config, self.spool, used)
        for line in self._not_repeated(found.troubles)[:TROUBLES_SHOWN]:
            self.messages.warn(line)
        if found.changed:
            engine.sync_intensities(self.spool, self.ledger, self.messages.waiting, self._wait_s)

    def _not_repeated(self, troubles: Sequence[str]) -> Sequence[str]:
        """The troubles with intensities; for a report only the first of a day about each zone."""
        if self.wait_long:
            return troubles
        given, now_s = Cache(cache_dir() / "warnings"), time.time()
        fresh = []
        for line in troubles:
            key = {"ledger": str(self.ledger), "about": line.partition(":")[0]}
            last = given.read(_Given, key)
            if last is None or not 0 <= now_s - last.at_s < _REPEAT_S:
                given.write(key, _Given(now_s))
                fresh.append(line)
        return fresh
