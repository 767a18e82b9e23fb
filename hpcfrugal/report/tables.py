"""The report as tables for a terminal. Every text from a job file is cleaned and none is read as markup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hpcfrugal.core.text import UNKNOWN, duration, plain
from hpcfrugal.ledger.rows import ChannelRow, MissingSensorRow
from hpcfrugal.report.co2e import Co2e, MassUnit, gram_notes
from hpcfrugal.report.summary import Amount, Group, JobSummary, channel_coverage
from hpcfrugal.report.text import EnergyUnit, clock, count, minute, percent, second
from hpcfrugal.report.text_table import Column, TextTable
from hpcfrugal.report.usage import JobUsage, usage_notes, usage_of
from hpcfrugal.report.usage_table import usage_table

_NAMED = 6

_STATE_STYLES = {"COMPLETED": "green", "RUNNING": "cyan", "PENDING": "yellow"}
_OFF = "not sampled: the job file says `energy: off`"
_QUALITY_STYLES = {"measured": "green", "modelled": "yellow", "unknown": "red"}


def _energy(unit: EnergyUnit, amount: Amount) -> Text:
    """A total; with a sign before it where parts are unknown and it can only be more."""
    if amount.energy_uj is None:
        return Text(UNKNOWN, style="red")
    return Text(("" if amount.complete else "≥ ") + unit.show(amount.energy_uj))


def _part(unit: EnergyUnit, energy_uj: int | None) -> Text:
    return Text(unit.show(energy_uj, unknown="–"))


def _unit(totals: Sequence[Amount]) -> EnergyUnit:
    return EnergyUnit(total.energy_uj for total in totals)


def _gram_columns(grams: Sequence[Co2e]) -> tuple[MassUnit, tuple[Column, ...]]:
    """Columns for grams, where any of them are known."""
    unit = MassUnit(one.tally.operational_g for one in grams)
    there = any(one.known for one in grams)
    return unit, (Column(f"CO2e [{unit.name}]"), Column("g/kWh", drop=2)) if there else ()


def _gram_cells(unit: MassUnit, columns: tuple[Column, ...], grams: Co2e, complete: bool) -> tuple[Text | str, ...]:
    """Grams and mean intensity; a sign before grams that can only be more."""
    if not columns:
        return ()
    if not grams.known:
        return Text("–", style="dim"), ""
    level = grams.tally.intensity_g_per_kwh
    whole = complete and grams.complete
    shown = ("" if whole else "≥ ") + unit.show(grams.tally.operational_g)
    sign = "~" if grams.tally.sources != ["actual"] else ""
    return Text(shown), "" if level is None else f"{sign}{float(level):,.0f}"


def jobs_table(summaries: Sequence[JobSummary], totals: Group) -> RenderableType:
    """One line a job and their sum."""
    unit = _unit([*(summary.total for summary in summaries), totals.total])
    grams = [Co2e.of(summary.footprint) for summary in summaries]
    mass, gram_columns = _gram_columns([*grams, totals.grams])
    grid = TextTable(
        (
            Column("Job", "word"),
            Column("Name", "text"),
            Column("User", "word", drop=2),
            Column("State", "word", drop=4),
            Column("Started (UTC)", "word", drop=1),
            Column("Elapsed", drop=3),
            Column(f"Energy [{unit.name}]"),
            Column("Measured"),
            Column("Modelled"),
            Column("Coverage"),
            *gram_columns,
        )
    )
    for summary, own in zip(summaries, grams, strict=True):
        job, total = summary.job, summary.total
        label = plain(job.label, 40) + (f" r{job.restart}" if job.restart else "")
        state = plain(job.state, 16) if job.state else UNKNOWN
        not_yet = Text("–", style="dim") if summary.not_started else None
        grid.add(
            (
                label,
                plain(job.name, 32),
                plain(job.user, 16),
                Text(state, style=_STATE_STYLES.get(state, "red" if job.final else "")),
                minute(job.started_wall_ns),
                not_yet or duration(job.elapsed_ns),
                not_yet or _energy(unit, total),
                _part(unit, total.measured_uj),
                _part(unit, total.modelled_uj),
                not_yet or percent(total.coverage),
                *_gram_cells(mass, gram_columns, own, total.complete),
            )
        )
    if len(summaries) > 1:
        total = totals.total
        grid.line()
        sums = (_energy(unit, total), _part(unit, total.measured_uj), _part(unit, total.modelled_uj))
        cover = (percent(total.coverage), *_gram_cells(mass, gram_columns, totals.grams, totals.complete))
        grid.add((f"{totals.jobs} jobs", "", "", "", "", duration(totals.elapsed_ns), *sums, *cover), style="bold")
    return Stack(grid, *_notes(totals))


def groups_table(groups: Sequence[Group], totals: Group, by: str) -> RenderableType:
    """One line a group and the sum of all jobs."""
    unit = _unit([*(group.total for group in groups), totals.total])
    mass, gram_columns = _gram_columns([*(group.grams for group in groups), totals.grams])
    heading = plain(by.removeprefix("tag:"), 24)
    grid = TextTable(
        (
            Column(heading if heading != by else by.capitalize(), "text"),
            Column("Jobs"),
            Column("Elapsed", drop=4),
            Column(f"Energy [{unit.name}]"),
            Column("CPU", drop=3),
            Column("DRAM", drop=2),
            Column("GPU", drop=1),
            Column("Measured"),
            Column("Modelled"),
            Column("Coverage"),
            *gram_columns,
        )
    )

    def add(group: Group, name: str, style: str = "") -> None:
        total, parts = group.total, group.components
        grid.add(
            (
                name,
                str(group.jobs),
                duration(group.elapsed_ns) if group.elapsed_ns else "–",
                _energy(unit, total),
                *(_part(unit, parts[part].energy_uj if part in parts else None) for part in ("cpu", "dram", "gpu")),
                _part(unit, total.measured_uj),
                _part(unit, total.modelled_uj),
                percent(total.coverage) if total.elapsed_ns else "–",
                *_gram_cells(mass, gram_columns, group.grams, group.complete),
            ),
            style,
        )

    for group in groups:
        add(group, plain(group.key, 40))
    if len(groups) > 1:
        grid.line()
        add(totals, "total", "bold")
    return Stack(grid, *_notes(totals))


def _notes(totals: Group) -> Iterator[Text]:
    """What the reader must know about the sums above."""
    if totals.without_energy:
        yield Text(f"{count(totals.without_energy, 'job')} ran of which no energy is known: not in the sum.")
    if totals.incomplete > totals.without_energy:
        yield Text("≥: a part is unknown and not in the figure; `hpcfrugal report JOB` says which and why.")
    if totals.lacking_idle:
        jobs = count(totals.lacking_idle, "job")
        yield Text(f"Idle power of shared nodes is not included ({jobs} with a share of a node by CPU time).")
    overlapping = totals.overlapping
    if overlapping:
        named = ", ".join(plain(job_id, 32) for job_id in overlapping[:_NAMED])
        more = f" and {len(overlapping) - _NAMED} more" if len(overlapping) > _NAMED else ""
        yield Text(
            f"Counted twice: these had the same node or GPU at one time, each with all of its energy: {named}{more}."
        )
    if totals.total.modelled_uj is not None:
        yield Text("Modelled: from TDP, CPU time and memory size, not from a meter.", style="dim")
    for note in gram_notes(totals.grams):
        yield Text(plain(note, 300), style="dim")


def job_detail(summary: JobSummary) -> RenderableType:
    """All about one job: what each channel of each node gave, and why not better."""
    job, total = summary.job, summary.total
    unit = EnergyUnit([total.energy_uj, *(channel.node_energy_uj for channel in job.channels)])
    parts: list[RenderableType] = [_head(summary), Text(), _components(summary, unit), Text(), _channels(summary, unit)]
    usage = usage_of(job)
    if usage.nodes:
        parts += [Text(), usage_table(usage)]
    return Stack(*parts, *_carbon(summary), *_why(summary, usage))


def _carbon(summary: JobSummary) -> Iterator[Text]:
    """Grams of the job, and what they are."""
    if summary.not_started:
        return
    grams = Co2e.of(summary.footprint)
    notes = list(gram_notes(grams))
    if grams.known or notes:
        yield Text()
    if grams.known:
        unit = MassUnit([grams.tally.operational_g])
        sign = "" if grams.complete and summary.total.complete else "≥ "
        level = grams.tally.intensity_g_per_kwh
        where = f"in zone {plain(grams.zone, 64)}" + ("" if level is None else f" at {float(level):,.0f} g/kWh")
        yield Text(f"{sign}{unit.show(grams.tally.operational_g)} {unit.name} CO2e {where}", style="bold")
    yield from (Text(plain(note, 300)) for note in notes)


def _head(summary: JobSummary) -> Table:
    job = summary.job
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    ended = f"{second(job.started_wall_ns) or 'not started'} – {second(job.ended_wall_ns) or 'end not known'}"
    exit_code = UNKNOWN if job.exit_code is None else str(job.exit_code)
    lines = [
        ("Job", f"{job.label} restart {job.restart} on {job.cluster or 'a cluster without a name'}"),
        ("Name", job.name or ""),
        ("User", job.user or ""),
        ("Tags", ", ".join(f"{key}={value}" for key, value in sorted(job.tags.items()))),
        ("State", f"{job.state or UNKNOWN}, exit code {exit_code}"),
        ("Time (UTC)", f"{ended}, elapsed {duration(job.elapsed_ns)} by {job.elapsed_source or 'nobody'}"),
        ("Nodes", f"{len(job.nodes)}: {', '.join(job.nodes)}" if job.nodes else "none known"),
        ("Run", job.run_id),
    ]
    for name, value in lines:
        if value:
            table.add_row(name, Text(plain(value, 300)))
    return table


def _components(summary: JobSummary, unit: EnergyUnit) -> TextTable:
    headings = (f"Energy [{unit.name}]", "Measured", "Modelled", "Coverage")
    grid = TextTable((Column("Component", "word"), *(Column(heading) for heading in headings)))
    for name, amount in (*summary.components.items(), ("total", summary.total)):
        parts = (_part(unit, amount.measured_uj), _part(unit, amount.modelled_uj), percent(amount.coverage))
        grid.add((name, _energy(unit, amount), *parts), style="bold" if name == "total" else "")
    return grid


def _channels(summary: JobSummary, unit: EnergyUnit) -> TextTable:
    grid = TextTable(
        (
            Column("Node", "word"),
            Column("Component", "word"),
            Column("Domain", "text"),
            Column("Source", "word"),
            Column("Quality", "word"),
            Column("Share", "word", drop=4),
            Column(unit.name),
            Column(f"Node {unit.name}", drop=3),
            Column("Peak W", drop=6),
            Column("Coverage"),
            Column("Errors", drop=5),
            Column("From (UTC)", "word", drop=2),
            Column("To", "word", drop=1),
        )
    )
    for channel in summary.job.channels:
        grid.add(
            (
                plain(channel.node, 24),
                channel.component,
                plain(channel.domain, 24),
                plain(channel.source, 24),
                Text(channel.quality, style=_QUALITY_STYLES.get(channel.quality, "")),
                _share(channel),
                _part(unit, channel.energy_uj),
                _part(unit, channel.node_energy_uj),
                "–" if channel.max_w is None else f"{channel.max_w:,.1f}",
                percent(channel_coverage(channel, summary.job.known_elapsed_ns)),
                str(channel.errors),
                clock(channel.first_wall_ns),
                clock(channel.last_wall_ns),
            ),
            style="" if channel.counted else "dim",
        )
    return grid


def _share(channel: ChannelRow) -> str:
    return channel.attribution if channel.counted else f"{channel.attribution}, not added"


def _why(summary: JobSummary, usage: JobUsage) -> Iterator[Text]:
    """Reasons, model inputs and doubts, each once, with the nodes and domains that share it."""
    job = summary.job
    nodes: dict[str, list[str]] = {}
    for node in dict.fromkeys([*job.nodes, *(channel.node for channel in job.channels)]):
        for text in _facts(summary, node):
            nodes.setdefault(text, []).append(node)
    if not job.nodes and job.sampled is False:
        nodes[_OFF] = ["job"]
    elif not job.nodes and job.sidecar_log is not None:
        nodes[f"no samples; the sidecar's log ends: {job.sidecar_log}"] = ["job"]
    for node_use in usage.nodes:
        for text in usage_notes(node_use):
            nodes.setdefault(text, []).append(node_use.node)
    if nodes:
        yield Text()
    for text, where in nodes.items():
        shown = ", ".join(where[:4]) + (f" and {len(where) - 4} more" if len(where) > 4 else "")
        yield Text(plain(f"{shown}: {text}", 500))


def _facts(summary: JobSummary, node: str) -> list[str]:
    """What there is to say of one node, each fact once."""
    job = summary.job
    own = [channel for channel in job.channels if channel.node == node]
    facts = []
    if job.sampled is False:
        facts.append(_OFF)
    elif not any(channel.boundary == "components" for channel in own):
        log = "" if job.sidecar_log is None else f"; the sidecar's log ends: {job.sidecar_log}"
        facts.append(f"no samples: the sidecar did not run there, or could not write{log}")
    facts += [
        f"{item.component}: {item.source} not used: {item.reason}"
        for item in job.missing_sensors
        if item.node == node and not _is_told(item, own)
    ]
    # The same of several domains (two packages, four GPUs) is said once, with all of their names before it.
    said: dict[tuple[str, str], list[str]] = {}
    for channel in own:
        for text in _of_channel(channel):
            said.setdefault((channel.component, text), []).append(channel.domain)
    for (component, text), domains in said.items():
        named = ", ".join(dict.fromkeys(domain for domain in domains if domain != component))
        facts.append(f"{component}{named and ' '}{named}: {text}")
    slowed = max((item.slowed for item in job.sessions if item.node == node and item.slowed), default=None)
    if slowed is not None:
        facts.append(f"sampled up to {slowed:g} times less often than asked for, to keep its cost down")
    return facts


def _is_told(item: MissingSensorRow, channels: Sequence[ChannelRow]) -> bool:
    """Whether the reason of a channel says already that this source was not used and why."""
    fact = f"{item.source}: {item.reason}"
    return any(channel.component == item.component and fact in (channel.reason or "") for channel in channels)


def _of_channel(channel: ChannelRow) -> Iterator[str]:
    if channel.reason:
        yield f"{channel.quality}: {channel.reason}"
    if channel.inputs:
        yield f"{'model' if channel.quality == 'modelled' else 'share'}: {channel.inputs}"
    if channel.resets:
        yield f"the counter fell {count(channel.resets, 'time')}: energy between those readings is missing"
    if channel.gaps:
        yield f"{count(channel.gaps, 'gap')} between readings, too long to count their energy"
