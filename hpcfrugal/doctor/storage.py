"""Spool, ledger, cache and templates: path, file system, free space, and whether they can be written."""

from __future__ import annotations

import errno
import grp
import os
import shutil
import stat
import tempfile
from pathlib import Path

from hpcfrugal.core.directories import cache_dir
from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.files import GROUP_FOLDER_MODE
from hpcfrugal.doctor.finding import Finding, Level
from hpcfrugal.job.render import builtin_templates, template_names
from hpcfrugal.ledger.filesystem import filesystem_type, journal_mode
from hpcfrugal.settings.config import Config, SiteSettings, template_dirs
from hpcfrugal.spool.layout import AGENTS_DIR, USERS_DIR

_MAKE_FOLDERS = "hpcfrugal site init -o - shows the file with which systemd-tmpfiles makes the folders of a site"
_MIN_FREE_B = 100 * 1024 * 1024


def _nearest(path: Path) -> Path:
    # Not by Path.exists, which raises an error below a directory that this user may not search.
    return next(parent for parent in (path, *path.parents) if os.path.exists(parent))


def _unreachable(path: Path) -> str | None:
    """Why it cannot be found out whether a path exists; None if it can."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return error.strerror
    return None


def _refusal(path: Path) -> str | None:
    """Why a directory or file cannot be written; None if it can.

    In a directory a temporary file is created, since permissions do not reveal a file system without user files (/proc)
    or without space.
    """
    if not path.is_dir():
        return None if os.access(path, os.W_OK) else os.strerror(errno.EACCES)
    try:
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        return error.strerror
    return None


def _place(subject: str, path: Path, *, extra: str = "", private: bool = True, is_file: bool = False) -> Finding:
    nearest = _nearest(path)
    free_b = shutil.disk_usage(nearest).free
    kind = filesystem_type(path) or "unknown file system"
    found = f"{path} ({kind}, {free_b // 2**30} GiB free{extra})"
    move = "set another in config.toml"

    def finding(level: Level, problem: str, advice: str) -> Finding:
        return Finding("files", subject, level, f"{found}: {problem}", advice)

    if why := _unreachable(path):
        return finding("fault", why, move)
    if nearest.is_dir() == (is_file and nearest == path):
        return finding("fault", f"{nearest} is {'a directory' if nearest.is_dir() else 'not a directory'}", move)
    if why := _refusal(nearest):
        return finding("fault", f"{nearest} cannot be written: {why}", move)
    if free_b < _MIN_FREE_B:
        return finding("gap", "nearly full", f"free some space, or {move}")
    if private and path.exists() and _is_open(path.stat()):
        return finding("gap", "others can read it", f"chmod go= {path}")
    return Finding("files", subject, "ok", found)


def _cache() -> Finding:
    try:
        return _place("cache", cache_dir(), private=False)
    except SetupError as error:  # neither a home directory nor XDG_CACHE_HOME; everything works without a cache
        return Finding("files", "cache", "gap", error.message, error.hint)


def _readers(path: Path) -> str:
    """Which group may read it beside the user."""
    try:
        found = path.stat()
    except OSError:
        return ""
    if stat.S_IMODE(found.st_mode) != GROUP_FOLDER_MODE:
        return ""
    try:
        name = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        name = str(found.st_gid)
    return f", the group {name} can read it"


def _is_open(found: os.stat_result) -> bool:
    """Whether others can read it than the user, and the group that it was made for."""
    mode = stat.S_IMODE(found.st_mode)
    return bool(mode & 0o077) and mode != GROUP_FOLDER_MODE and found.st_uid == os.getuid()


def _site_findings(site: SiteSettings) -> list[Finding]:
    """The site's places: for root whether it can write there, for others whether they reach the published ledgers."""
    if os.geteuid() != 0:
        path = site.published
        if path is None or os.access(path, os.X_OK):
            return []
        why = "cannot be reached" if _unreachable(path) or os.path.exists(path) else "does not exist"
        return [
            Finding("files", "site.published", "gap", f"{path} {why}", "ask your operator: hpcfrugal doctor as root")
        ]
    found = []
    for name, place in (("spool", site.spool), ("ledger", site.ledger), ("published", site.published)):
        if place is None:
            continue
        is_file = name == "ledger"
        folder = place.parent if is_file else place
        finding = _place(f"site.{name}", place, private=False, is_file=is_file)
        if finding.level == "ok" and not os.path.exists(folder):
            finding = Finding("files", f"site.{name}", "gap", f"{folder} does not exist", _MAKE_FOLDERS)
        unsafe = [str(one) for one in (folder, folder / USERS_DIR, folder / AGENTS_DIR) if _others_can_replace(one)]
        if finding.level == "ok" and unsafe:
            problem = f"{', '.join(unsafe)}: every user can remove and replace what is in it"
            finding = Finding("files", f"site.{name}", "gap", problem, _MAKE_FOLDERS)
        found.append(finding)
    return found


def _others_can_replace(folder: Path) -> bool:
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def storage_findings(config: Config) -> list[Finding]:
    """The directories of hpcfrugal, and whether it can write there."""
    mode = journal_mode(config.ledger)
    findings = [
        _place("spool", config.spool, extra=_readers(config.spool)),
        _place("ledger", config.ledger, extra=f", journal {mode}", is_file=True),
        _cache(),
    ]
    findings += _site_findings(config.site)
    own = [str(path) for path in template_dirs() if os.path.isdir(path)]
    names = ", ".join(template_names(template_dirs()))
    findings.append(
        Finding("files", "templates", "ok", f"{names} (from {', '.join([*own, str(builtin_templates())])})")
    )
    return findings
