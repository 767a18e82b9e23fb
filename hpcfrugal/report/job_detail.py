"""Everything about one job to read: what each channel of each node gave, and why nothing better was used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hpcfrugal.core.format import UNKNOWN, EnergyUnit, count, duration, second
from hpcfrugal.core.text import plain
from hpcfrugal.ledger.parts import MACHINE
from hpcfrugal.ledger.rows import ChannelRow, MissingSensorRow
from hpcfrugal.ledger.scopes import BothScopes
from hpcfrugal.ledger.sums import EnergySums
from hpcfrugal.report import notation
from hpcfrugal.report.amount import AMOUNT_FIELDS
from hpcfrugal.report.co2e import CO2E_FIELDS
from hpcfrugal.report.field import Field, Rows, field, on, scale, table
from hpcfrugal.report.job import CHANNEL_FIELDS, JOB_FIELDS, NOT_ADDED, ReportedJob
from hpcfrugal.report.other_work import other_work
from hpcfrugal.report.scope_advice import advice, unit_for
from hpcfrugal.report.usage import NODE_USAGE_FIELDS, JobUsage, usage_notes, usage_of
from hpcfrugal.report.view import Block, Facts, Note, Notes, named, note
from hpcfrugal.spool.documents import CodeState

_NOT_SAMPLED = "not sampled: `energy: off` in the job file"
_GRAMS, _INTENSITY = (
    next(each for each in JOB_FIELDS if each.name == name) for name in ("co2e_g", "intensity_g_per_kwh")
)
_NODES_NAMED = 4
_HASH_DIGITS = 7
_DATE = len("2026-11-21")


class _Component(NamedTuple):
    name: str
    sums: EnergySums


_COMPONENT_FIELDS: tuple[Field[_Component], ...] = (
    field("component", notation.WORD, lambda one: one.name, heading="Component"),
    *on(AMOUNT_FIELDS, lambda one: one.sums),
)


def job_blocks(record: ReportedJob, unit: EnergyUnit = "auto", scopes: BothScopes | None = None) -> Iterator[Block]:
    """The blocks of a job's own report, with its energies in ``unit``. ``scopes`` are those of `hpcfrugal run`."""
    parts = [_Component(*each) for each in record.components.items()]
    components = [
        Rows(_COMPONENT_FIELDS, parts),
        Rows(_COMPONENT_FIELDS, [_Component("total", record.sums)], "total"),
    ]
    by_channel = Rows(CHANNEL_FIELDS, record.channels, lambda one: "" if one.channel.counted else "aside")
    units = scale([*components, by_channel], unit)
    yield _head(record)
    if record.channels or not record.job.totals.not_started:
        yield table(_COMPONENT_FIELDS, components, units)
    if record.channels:
        yield table(CHANNEL_FIELDS, [by_channel], units)
        if not all(one.channel.counted for one in record.channels):
            yield Notes((NOT_ADDED,))
    usage = usage_of(record.job)
    if usage.nodes:
        nodes = [Rows(NODE_USAGE_FIELDS, usage.nodes)]
        if len(usage.nodes) > 1:
            nodes.append(Rows(NODE_USAGE_FIELDS, [usage.total], "total"))
        yield table(NODE_USAGE_FIELDS, nodes)
    for lines in (_co2e(record), (*_on_other_work(record, scopes, unit), *_remarks(record, usage))):
        if lines:
            yield Notes(lines, apart=True)


def _on_other_work(record: ReportedJob, scopes: BothScopes | None, unit: EnergyUnit) -> list[Note]:
    """Of `hpcfrugal run` which figure to report: that takes the other work into account."""
    job = record.job
    if scopes is None:
        return [note(f"{one.node}: {one.text}") for one in other_work(job)]
    energy = unit_for(record.sums.energy_uj, scopes, unit)
    return [note(advice(scopes, (job.elapsed_ns or 0) / 1e9, job.totals.scope == MACHINE, energy))]


def _co2e(record: ReportedJob) -> tuple[Note, ...]:
    if record.job.totals.not_started:
        return ()
    co2e = record.co2e
    lines = [note(text) for text in co2e.notes()]
    if co2e.known:
        units = scale([Rows(CO2E_FIELDS, [co2e])])
        figure = _GRAMS.cell(record, units).text
        at = _INTENSITY.cell(record, units).text
        where = f"in zone {co2e.zone}" + (f" at {at} g/kWh" if at else "")
        amount = "CO2e unknown" if figure == UNKNOWN else f"{figure} {units.mass.name} CO2e"
        lines.insert(0, note(f"{amount} {where}", "total"))
    return tuple(lines)


def _head(record: ReportedJob) -> Facts:
    job = record.job
    started, ended = second(job.started_wall_ns) or "not started", second(job.ended_wall_ns) or "end not known"
    if ended[:_DATE] == started[:_DATE]:
        ended = ended[_DATE:].strip()
    restart = f" restart {job.restart}" if job.restart else ""
    source = f"source: {job.elapsed_source}" if job.elapsed_source else "source unknown"
    state = f"{job.state or UNKNOWN}, exit code {UNKNOWN if job.exit_code is None else job.exit_code}"
    when = f"{started} – {ended}, elapsed {duration(job.elapsed_ns)} ({source})"
    if job.totals.not_started:
        state, when = job.state or f"{UNKNOWN}; `hpcfrugal status` shows whether it still waits", started
    lines = (
        ("Job", f"{job.label}{restart} on {job.cluster or 'a cluster without a name'}"),
        ("Name", job.name or ""),
        ("User", job.user or ""),
        ("Tags", ", ".join(f"{key}={value}" for key, value in sorted(job.tags.items()))),
        ("State", state),
        ("Time (UTC)", when),
        ("Nodes", f"{len(job.nodes)}: {', '.join(job.nodes)}" if job.nodes else "none known"),
        ("Scope", job.totals.scope or ""),
        ("Code", _version(job.code)),
        ("Run", job.run_id),
    )
    return Facts(tuple((name, plain(text, 300)) for name, text in lines if text))


def _version(code: CodeState) -> str:
    """The commit, and the hash of dvc.lock, as git shortens them."""
    changed = " (with uncommitted changes)" if code.git_clean is False else ""
    commit = f"{code.git_commit[:_HASH_DIGITS]}{changed}" if code.git_commit else ""
    lock = f"dvc.lock {code.dvc_lock_sha256[:_HASH_DIGITS]}" if code.dvc_lock_sha256 else ""
    return ", ".join(filter(None, (commit, lock)))


def _remarks(record: ReportedJob, usage: JobUsage) -> tuple[Note, ...]:
    """Reasons, model inputs and doubts, each once, with the nodes and domains that share it."""
    job = record.job
    nodes: dict[str, list[str]] = {}
    for node in dict.fromkeys([*job.nodes, *(channel.node for channel in job.channels)]):
        for text in _of_node(record, node):
            nodes.setdefault(text, []).append(node)
    if not job.nodes and job.sampled is False:
        nodes[_NOT_SAMPLED] = ["job"]
    elif not job.nodes and job.sidecar_log is not None:
        nodes[f"no samples; the sidecar's log ends: {job.sidecar_log}"] = ["job"]
    for node_use in usage.nodes:
        for text in usage_notes(node_use):
            nodes.setdefault(text, []).append(node_use.node)
    return tuple(note(f"{named(where, _NODES_NAMED)}: {text}", limit=500) for text, where in nodes.items())


def _of_node(record: ReportedJob, node: str) -> list[str]:
    job = record.job
    own = [channel for channel in job.channels if channel.node == node]
    remarks = []
    if job.sampled is False:
        remarks.append(_NOT_SAMPLED)
    elif not any(channel.boundary == "components" for channel in own):
        log = "" if job.sidecar_log is None else f"; the sidecar's log ends: {job.sidecar_log}"
        remarks.append(f"no samples: the sidecar did not run there, or could not write{log}")
    remarks += [
        f"{item.component}: {item.source} not used: {item.reason}"
        for item in job.missing_sensors
        if item.node == node and not _in_a_reason(item, own)
    ]
    # A remark about several domains (two packages, four GPUs) is written once, with all of their names.
    domains: dict[tuple[str, str], list[str]] = {}
    for channel in own:
        for text in _of_channel(channel):
            domains.setdefault((channel.component, text), []).append(channel.domain)
    for (component, text), names in domains.items():
        others = ", ".join(dict.fromkeys(domain for domain in names if domain != component))
        remarks.append(f"{component}{others and ' '}{others}: {text}")
    slowed = max((item.slowed for item in job.sessions if item.node == node and item.slowed), default=None)
    if slowed is not None:
        remarks.append(f"sampled up to {slowed:g} times less often than requested, to limit the overhead")
    return remarks


def _in_a_reason(item: MissingSensorRow, own: list[ChannelRow]) -> bool:
    """Whether the reason of a channel already includes this one."""
    text = f"{item.source}: {item.reason}"
    return any(channel.component == item.component and text in (channel.reason or "") for channel in own)


def _of_channel(channel: ChannelRow) -> Iterator[str]:
    if channel.reason:
        yield f"{channel.quality}: {channel.reason}"
    if channel.inputs:
        yield f"{'model' if channel.quality == 'modelled' else 'share'}: {channel.inputs}"
    if channel.resets:
        yield f"the counter was reset {count(channel.resets, 'time')}: energy between those readings is missing"
    if channel.gaps:
        yield f"{count(channel.gaps, 'gap')} between readings, too long to count the energy"
