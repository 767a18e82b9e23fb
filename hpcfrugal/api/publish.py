"""Giving the users of a site what the site's ledger has of them: a ledger each, and one for each account they manage.

Nobody gets what Slurm would not show them: a coordinator of an account sees its jobs in Slurm, whatever is private; a
manager that only the settings name gets an account's ledger where PrivateData lets all users see all jobs.
"""

from __future__ import annotations

import pwd
import shutil
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hpcfrugal.api.messages import Messages
from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.text import plain
from hpcfrugal.ledger.published import jobs_by_account, owners_in, publish_jobs
from hpcfrugal.ledger.published_files import give, ledger_of, report_beside, staging
from hpcfrugal.ledger.queries import JobFilter
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.report.cost import Tariff
from hpcfrugal.report.formats import rendered
from hpcfrugal.report.jobs import JobsReport
from hpcfrugal.report.period import period
from hpcfrugal.settings.values import path_of_user
from hpcfrugal.slurm.associations import JobsPrivate, SlurmUser, SlurmUsers
from hpcfrugal.slurm.client import slurm_client

_REPORTED = "30d"

_LONGEST_NAME = 255
"""Bytes in the name of a file, on usual file systems."""


@dataclass(slots=True)
class Published:
    """What was published: users with a ledger of their own, accounts by manager.

    ``withheld``: account and user that only the settings name as its manager, to whom Slurm does not show its jobs.
    ``without_jobs``: accounts of the settings' managers that have none in the ledger. ``unknown``: users with jobs who
    have no account on this machine. ``failed``: users and why nothing could be given.
    """

    users: list[str] = field(default_factory=list)
    accounts: dict[str, list[str]] = field(default_factory=dict)
    withheld: list[tuple[str, str]] = field(default_factory=list)
    without_jobs: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def accounts_by_manager(
    slurm_users: Iterable[SlurmUser], managers: Mapping[str, Iterable[str]], *, private: bool
) -> tuple[dict[str, set[str]], list[tuple[str, str]]]:
    """The accounts whose ledgers each user gets; and account and user of those who do not, see ``Published``."""
    known = {user.name: user for user in slurm_users}
    found = {name: set(user.coordinates) for name, user in known.items()}
    withheld = []
    for account, names in managers.items():
        for name in names:
            user = known.get(name)
            if not private or (user is not None and (user.admin or account in user.coordinates)):
                found.setdefault(name, set()).add(account)
            else:
                withheld.append((account, name))
    return found, withheld


def publish(
    ledger: Path,
    published: Path,
    managers: Mapping[str, Iterable[str]],
    messages: Messages,
    tariff: Tariff | None = None,
) -> Published:
    """Publish a site's ledger.

    Raises SetupError: Slurm does not answer, or this is not root; and what ``open_ledger`` raises.
    """
    client = slurm_client()
    with staging(published) as folder, messages.progress("Publishing") as progress:
        private = client.ask(JobsPrivate())
        manages, withheld = accounts_by_manager(client.ask(SlurmUsers()), managers, private=private)
        owners, accounts = owners_in(ledger, "user"), set(owners_in(ledger, "account"))
        result = Published(withheld=withheld, without_jobs=sorted(managers.keys() - accounts))
        managing = {name for name, some in manages.items() if some & accounts}
        # Who has a folder may have been a manager before.
        before = {each.name for each in published.iterdir() if each.is_dir() and not each.name.startswith(".")}
        names = sorted({*owners, *managing, *before})
        ledgers = _Ledgers(
            ledger, folder, tariff, (one for name in names for one in manages.get(name, set()) & accounts)
        )
        for number, name in enumerate(names, 1):
            try:
                user = pwd.getpwnam(name)
                target = path_of_user(published / "%u", name)
            except (KeyError, ValueError):
                result.unknown.append(name)
                continue
            managed = sorted(manages.get(name, set()) & accounts)
            for account in [one for one in managed if len(ledger_of(published, name, one).name) > _LONGEST_NAME]:
                managed.remove(account)
                result.failed.append((name, f"the name of the account {plain(account)} is too long for a file"))
            try:
                give(ledgers.of(name, managed), target, user.pw_uid, user.pw_gid)
            except (OSError, SetupError) as error:
                for file in folder.iterdir():
                    if file.is_file():
                        file.unlink()
                why = error.message if isinstance(error, SetupError) else error.strerror
                result.failed.append((name, f"{plain(str(target), 300)}: {why}"))
            else:
                result.users.append(name)
                for account in managed:
                    result.accounts.setdefault(account, []).append(name)
            if progress is not None:
                progress(number, len(names))
    return result


class _Ledgers:
    """Makes the ledgers and reports of users in ``folder``. That of an account is made once for all of its managers, by
    one pass over the jobs of all accounts that are managed."""

    def __init__(self, ledger: Path, folder: Path, tariff: Tariff | None, managed: Iterable[str]) -> None:
        self._ledger, self._folder, self._tariff = ledger, folder, tariff
        self._left = Counter(managed)
        self._kept = folder / "accounts"
        self._kept.mkdir(mode=0o700)

    @cached_property
    def _jobs(self) -> dict[str, array[int]]:
        return jobs_by_account(self._ledger, self._left)

    def of(self, user: str, accounts: Iterable[str]) -> list[Path]:
        """Those of a user, who manages these accounts. Raises ``OSError`` and as ``publish_jobs``."""
        target = self._folder / ledger_of(self._folder, user).name
        files = self._make(target, "user", user)
        for account in accounts:
            files += self._of_account(self._kept / ledger_of(self._folder, user, account).name, account)
        return files

    def _of_account(self, kept: Path, account: str) -> list[Path]:
        files = [kept, kept.with_name(report_beside(kept))]
        if not all(file.exists() for file in files):
            for file in files:
                file.unlink(missing_ok=True)  # of an attempt that failed
            self._make(kept, "account", account, self._jobs[account])
        self._left[account] -= 1
        own = [self._folder / file.name for file in files]
        for file, target in zip(files, own, strict=True):
            if self._left[account] > 0:
                shutil.copyfile(file, target)
            else:
                file.rename(target)
        return own

    def _make(self, target: Path, column: str, name: str, among: Iterable[int] | None = None) -> list[Path]:
        span = period(_REPORTED, None)
        wanted = JobFilter(since_ns=span.since_ns, until_ns=span.until_ns)
        publish_jobs(self._ledger, target, column, name, among)
        report = target.with_name(report_beside(target))
        with open_ledger(target) as connection:
            by = ("user",) if column == "account" else ()
            found = JobsReport(connection, span, wanted, by, tariff=self._tariff)
            report.write_text(rendered(found, "markdown"), encoding="utf-8")
        return [target, report]
