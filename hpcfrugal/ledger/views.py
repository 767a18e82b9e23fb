"""Views of the ledger for people and other programs: plain SQL, with names, decimals and ISO times.

Each figure is converted as reports do it (``EnergySums``), in the same order, so that both agree to the last digit.
"""

from __future__ import annotations

from hpcfrugal.core.record import codec
from hpcfrugal.ledger.packed import AGENT_JOB_BUCKETS, BUCKETS, NODE_BUCKETS
from hpcfrugal.ledger.selection import DAY_S
from hpcfrugal.ledger.sums import LEAST_WITH_INTENSITY_UJ, SUMS
from hpcfrugal.spool.documents import CodeState


def _text(column: str) -> str:
    return f"(SELECT name FROM texts WHERE text = {column})"


def _time(column: str) -> str:
    """A time in nanoseconds as ISO 8601 in UTC, to the microsecond."""
    second = f"strftime('%Y-%m-%dT%H:%M:%S', {column} / 1000000000, 'unixepoch')"
    return f"{second} || printf('.%06dZ', {column} / 1000 % 1000000)"


def _sum(first: str, second: str) -> str:
    """The sum of what is known of two columns, NULL where nothing is."""
    return f"coalesce({first} + {second}, {first}, {second})"


def _figures(of: str) -> dict[str, str]:
    """The figures of ``EnergySums`` whose columns begin with ``of``."""
    energy_uj = _sum(f"{of}measured_uj", f"{of}modelled_uj")
    known_uj = f"({of}actual_uj + {of}estimated_uj + {of}forecast_uj + {of}yearly_mean_uj)"
    intensity = f"CAST(CAST({of}grid_ng AS REAL) * 3600000.0 / {known_uj} + 0.5 AS INTEGER) / 1000.0"
    return {
        "energy_kwh": f"CAST({energy_uj} AS REAL) / 1e6 / 3.6e6",
        "energy_j": f"CAST({energy_uj} AS REAL) / 1e6",
        "measured_j": f"CAST({of}measured_uj AS REAL) / 1e6",
        "modelled_j": f"CAST({of}modelled_uj AS REAL) / 1e6",
        "coverage": f"CAST({of}covered_ns AS REAL) / nullif({of}elapsed_ns, 0)",
        "co2e_g": f"CAST({_sum(f'{of}measured_ug', f'{of}modelled_ug')} AS REAL) / 1e6",
        "intensity_g_per_kwh": f"CASE WHEN {known_uj} >= {LEAST_WITH_INTENSITY_UJ} THEN {intensity} END",
        "embodied_low_g": f"CAST({of}embodied_low_ug AS REAL) / 1e6",
        "embodied_high_g": f"CAST({of}embodied_high_ug AS REAL) / 1e6",
        "embodied_complete": f"CASE WHEN {of}embodied_low_ug NOT NULL THEN {of}embodied_lacking = 0 END",
    }


_ENERGY = ("energy_kwh", "energy_j", "measured_j", "modelled_j", "coverage")
_CO2E = ("co2e_g", "intensity_g_per_kwh")
_EMBODIED = ("embodied_low_g", "embodied_high_g", "embodied_complete")


def _select(columns: dict[str, str], source: str) -> str:
    return f"SELECT {', '.join(f'{sql} AS {column}' for column, sql in columns.items())} {source}"


_OF_JOB = {
    "cluster": _text("jobs.cluster"),
    "job_id": "jobs.job_id",
    "array_task": "jobs.array_task_id",
    "restart": "jobs.restart",
    "user": _text("jobs.user"),
    "account": _text("jobs.account"),
    "partition": _text("jobs.partition"),
    "name": _text("jobs.name"),
}


_WHOLE_NODES = "SELECT 1 FROM job_energy WHERE job_energy.job = jobs.job AND job_energy.component = 'node'"


def _jobs_energy() -> str:
    figures = _figures("t.")
    hours = "jobs.elapsed_ns / 3.6e12"
    columns = {
        **_OF_JOB,
        "tags": _text("jobs.tags"),
        "state": _text("jobs.state"),
        "submitted": _time("jobs.submitted_wall_ns"),
        "started": _time("jobs.started_wall_ns"),
        "ended": _time("jobs.ended_wall_ns"),
        "elapsed_s": "jobs.elapsed_ns / 1e9",
        **{name: figures[name] for name in _ENERGY},
        "complete": "t.complete",
        "scope": _text("t.scope"),
        "boundary": f"CASE WHEN EXISTS ({_WHOLE_NODES}) THEN 'node' ELSE 'components' END",
        **{name: figures[name] for name in (*_CO2E, *_EMBODIED)},
        "cpu_h": f"jobs.alloc_cpus * {hours}",
        "gpu_h": f"t.gpus * {hours}",
        "nodes": _text("jobs.nodes"),
        **{name: f"code.{name}" for name in codec(CodeState).columns},
    }
    source = "FROM jobs JOIN job_totals AS t USING (job) LEFT JOIN runs USING (run)"
    return _select(columns, f"{source} LEFT JOIN code_states AS code ON code.code = runs.code")


def _energy_by_day() -> str:
    sums = _figures("s.")
    columns = {
        "day": f"strftime('%Y-%m-%d', s.day * {DAY_S}, 'unixepoch')",
        "user": _text("s.user"),
        "account": _text("s.account"),
        "partition": _text("s.partition"),
        "component": "s.component",
        **{name: sums[name] for name in _ENERGY},
        "complete": "s.lacking = 0 AND s.has_energy",
        **{name: sums[name] for name in _CO2E},
    }
    # All from the jobs, and not from the roll-up, which lacks days until a sync has made them anew.
    keys = "e.day, jobs.user, jobs.account, jobs.partition, e.component"
    added = ", ".join(f"sum(e.{name}) AS {name}" for name in SUMS)
    source = (
        f"FROM (SELECT {keys}, {added}, max(e.measured_uj NOT NULL OR e.modelled_uj NOT NULL) AS has_energy"
        f" FROM job_energy AS e JOIN jobs ON jobs.job = e.job GROUP BY {keys}) AS s"
    )
    return _select(columns, source)


def _energy_buckets() -> str:
    columns = {
        **_OF_JOB,
        "node": "(SELECT name FROM nodes WHERE node = b.node)",
        **{name: f"kinds.{name}" for name in ("component", "domain", "source", "quality", "boundary", "counted")},
        "started": "strftime('%Y-%m-%dT%H:%M:%SZ', b.bucket_start_s, 'unixepoch')",
        "energy_j": "b.energy_uj / 1e6",
    }
    source = f"FROM ({BUCKETS}) AS b JOIN channel_kinds AS kinds USING (kind) JOIN jobs USING (job)"
    return _select(columns, source)


_OF_CHANNEL = {name: f"kinds.{name}" for name in ("component", "domain", "source", "boundary", "counted")}
_BUCKET_START = "strftime('%Y-%m-%dT%H:%M:%SZ', b.bucket_start_s, 'unixepoch')"
_OF_AGENT = """
JOIN agent_files USING (agent_file) JOIN nodes USING (node)
JOIN node_channels AS c ON c.agent_file = b.agent_file AND c.session = b.session AND c.number = b.number
JOIN channel_kinds AS kinds ON kinds.kind = c.kind
"""


def _node_buckets() -> str:
    columns = {
        "node": "nodes.name",
        **_OF_CHANNEL,
        "started": _BUCKET_START,
        "energy_uj": "b.energy_uj",
        "jobs_uj": "b.energy_uj - b.rest_uj",
        "rest_uj": "b.rest_uj",
    }
    return _select(columns, f"FROM ({NODE_BUCKETS}) AS b {_OF_AGENT}")


def _node_job_buckets() -> str:
    columns = {
        "node": "nodes.name",
        "job_id": "coalesce(jobs.job_id, b.job_id)",
        "name": "b.name",
        "restart": "jobs.restart",
        "user": _text("jobs.user"),
        **_OF_CHANNEL,
        "started": _BUCKET_START,
        "energy_uj": "b.energy_uj",
    }
    return _select(columns, f"FROM ({AGENT_JOB_BUCKETS}) AS b {_OF_AGENT} LEFT JOIN jobs ON jobs.job = b.job")


JOBS_ENERGY = _jobs_energy()
"""What ``jobs_energy`` selects; conditions on ``jobs`` may follow."""

VIEWS = tuple(
    f"CREATE VIEW {name} AS {selected}"
    for name, selected in (
        ("jobs_energy", JOBS_ENERGY),
        ("energy_by_day", _energy_by_day()),
        ("energy_buckets", _energy_buckets()),
        ("node_buckets", _node_buckets()),
        ("node_job_buckets", _node_job_buckets()),
    )
)
"""The statements that make them."""
