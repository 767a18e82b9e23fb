"""How fast rows of sacct come into a ledger, beside the least that this costs and beside other programs."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpcfrugal.ledger.accounted import refresh_accounted
from hpcfrugal.ledger.accounting import take_accounting
from hpcfrugal.ledger.connection import transaction
from hpcfrugal.ledger.refresh import refresh_ledger
from hpcfrugal.ledger.spools import key_for
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.slurm.sacct_fields import FIELDS
from hpcfrugal.slurm.sacct_jobs import read_jobs
from hpcfrugal.slurm.sacct_query import unforeseen_delimiter
from hpcfrugal.spool.accounting_text import AccountingQuery, store_answer

_LEFT_OUT = {"Elapsed", "NCPUS", "ConsumedEnergy"}
_COLUMNS = [field.name for field in FIELDS if field.name not in _LEFT_OUT]
_START_S = 1_795_000_000
_ROWS_A_JOB = 3


def rows_of_sacct(count: int) -> list[list[str]]:
    """``count`` rows in the columns that are asked for: jobs of 2 s to 25 h, each with a batch and an extern step."""
    draw, submit_s, found = random.Random(1), _START_S, list[list[str]]()
    for number in range(count // _ROWS_A_JOB + 1):
        submit_s += draw.randrange(1, 30)
        start_s, elapsed_s = submit_s + draw.randrange(4000), draw.randrange(2, 90_000)
        cpus, gpus = draw.choice((1, 2, 4, 8, 16, 32, 128)), draw.choice((0, 0, 0, 1, 2))
        used_s = int(elapsed_s * cpus * draw.random())
        common = {
            "Cluster": "c1", "State": "COMPLETED", "Submit": str(submit_s), "Eligible": str(submit_s),
            "Start": str(start_s), "End": str(start_s + elapsed_s), "ElapsedRaw": str(elapsed_s),
            "Suspended": "00:00:00", "ExitCode": "0:0", "AllocCPUS": str(cpus), "NNodes": "1",
            "NodeList": f"n{draw.randrange(1, 1000)}",
            "TotalCPU": f"{used_s // 3600:02}:{used_s // 60 % 60:02}:{used_s % 60:02}",
            "AllocTRES": f"billing={cpus},cpu={cpus},"
            + (f"gres/gpu:a100={gpus},gres/gpu={gpus}," if gpus else "") + f"mem={4 * cpus}G,node=1",
        }  # fmt: skip
        job = common | {
            "User": f"user{draw.randrange(200)}", "Account": f"account{draw.randrange(20)}", "Partition": "batch",
            "QOS": "normal", "ReqMem": f"{4 * cpus}G", "JobName": f"job{draw.randrange(50)}",
        }  # fmt: skip
        rss = f"{draw.randrange(1000, 9_999_999)}K"
        for step, cells in ("", job), (".batch", common | {"MaxRSS": rss}), (".extern", common | {"MaxRSS": "0"}):
            cells = cells | {"JobID": f"{number + 1000}{step}", "JobIDRaw": f"{number + 1000}{step}"}
            found.append([cells.get(name, step[1:] if name == "JobName" else "") for name in _COLUMNS])
    return found[:count]


def measure(folder: Path, count: int, peers: Path | None) -> dict[str, Any]:
    """Rows a second of each part, in CPU time of this process: each part is measured three times, the best counts."""
    rows, between = rows_of_sacct(count), unforeseen_delimiter()
    text = "".join(between.join(cells) + "\n" for cells in (_COLUMNS, *rows))
    query = AccountingQuery(
        "c1", 2 * _START_S * 10**9 // 2 + 10**17, "*", _START_S * 10**9, (_START_S + 86_400) * 10**9
    )
    store_answer(folder / "spool", query, text)
    floor = _rate(count, lambda: _floor(folder / "floor.db", text, between))
    parse = _rate(count, lambda: read_jobs(text.splitlines(keepends=True), "c1"))
    stages = [_stages(folder) for _ in range(3)]
    best = {name: count / min(each[name] for each in stages) for name in stages[0]}
    best["all"] = count / min(sum(each.values()) for each in stages)
    found = {"rows": count, "jobs": count // _ROWS_A_JOB, "floor": floor, "parse": parse, **best}
    found["import_of_floor"] = best["rows_into_ledger"] / floor
    return found | ({} if peers is None else {"slurm2sql": _slurm2sql(folder, peers, rows)})


def _rate(count: int, work: Callable[[], object]) -> float:
    used_s = []
    for _ in range(3):
        begun_s = time.process_time()
        work()
        used_s.append(time.process_time() - begun_s)
    return count / min(used_s)


def _floor(path: Path, text: str, between: str) -> None:
    """Split, and executemany into one table."""
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE rows ({', '.join(_COLUMNS)})")
    lines = text.split("\n")[1:-1]
    insert = f"INSERT INTO rows VALUES ({', '.join('?' * len(_COLUMNS))})"
    connection.executemany(insert, [line.split(between) for line in lines])
    connection.commit()
    connection.close()


def _stages(folder: Path) -> dict[str, float]:
    """CPU seconds of the parts of an import into an empty ledger."""
    ledger = folder / "ledger.db"
    for path in folder.glob("ledger.db*"):
        path.unlink()
    found = {}
    with open_ledger(ledger, write=True) as connection:

        def timed(name: str, work: Callable[[], object]) -> None:
            begun_s = time.process_time()
            work()
            found[name] = time.process_time() - begun_s

        def take() -> None:
            with transaction(connection):
                take_accounting(connection, key_for(connection, folder / "spool"), folder / "spool", [])

        timed("rows_into_ledger", take)
        timed("jobs_with_energy", lambda: refresh_accounted(connection))
        timed("totals", lambda: refresh_ledger(connection))
    return found


def _slurm2sql(folder: Path, peers: Path, rows: list[list[str]]) -> float | None:
    """Rows a second of slurm2sql, reading the same rows from a sacct that prints them; None where it is not there.

    It asks for columns of its own; those that are not known here are empty.
    """
    program = peers / "bin" / "slurm2sql"
    if not program.exists():
        return None
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    times = [at for at, name in enumerate(_COLUMNS) if name in ("Submit", "Eligible", "Start", "End")]
    rows = [list(cells) for cells in rows]
    for cells in rows:
        for at in times:  # it reads no others
            cells[at] = f"{datetime.fromtimestamp(int(cells[at]), UTC):%Y-%m-%dT%H:%M:%S}"
    (folder / "rows").write_text("".join("\x1f".join(cells) + "\n" for cells in rows))
    sacct = bin_folder / "sacct"
    sacct.write_text(_SACCT.format(python=shutil.which("python3"), rows=str(folder / "rows"), columns=_COLUMNS))
    sacct.chmod(0o755)
    began_s = time.monotonic()
    subprocess.run(
        [str(program), str(folder / "slurm2sql.db"), "--", "-S", "2026-11-01"],
        env={"PATH": f"{bin_folder}:/usr/bin:/bin"}, check=True, capture_output=True,
    )  # fmt: skip
    return len(rows) / (time.monotonic() - began_s)


_SACCT = """#!{python}
import sys
if "--version" in sys.argv:
    print("slurm 24.11.5")
    sys.exit()
words = " ".join(sys.argv[1:]).replace("=", " ").split()
names = next(words[at + 1] for at, word in enumerate(words) if word in ("--format", "-o")).split(",")
between = next((word.partition("=")[2] for word in sys.argv if word.startswith("--delimiter")), "|")
columns = {columns!r}
print(between.join(names))
same = {{"NCPUS": "AllocCPUS", "AllocNodes": "NNodes"}}
names_here = [same.get(name, name) for name in names]
places = [columns.index(name) if name in columns else None for name in names_here]
for line in open({rows!r}):
    cells = line.rstrip("\\n").split("\\x1f")
    print(between.join("" if place is None else cells[place] for place in places))
"""
