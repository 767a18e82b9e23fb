"""Text of sacct: each row is read or set aside with its line and the reason, and sums are exact."""

from __future__ import annotations

import io
import sys
from types import FrameType
from zoneinfo import ZoneInfo

import pytest
from sacct_rows import CASES, ORDINARY, Awkward, rows

from hpcfrugal.slurm.sacct_jobs import SacctJob, SacctJobs, read_jobs
from hpcfrugal.slurm.sacct_text import NoHeader, delimiter_of

BERLIN = ZoneInfo("Europe/Berlin")


def read(text: str, zone: ZoneInfo | None = None) -> SacctJobs:
    return read_jobs(io.StringIO(text, newline="\n"), "here", zone)


def only(text: str, zone: ZoneInfo | None = None) -> SacctJob:
    found = read(text, zone)
    assert (len(found.jobs), found.set_aside) == (1, ())
    return found.jobs[0]


def test_there_are_two_hundred_rows() -> None:
    assert len(CASES) >= 200


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case.cells!s:.60}" for number, case in enumerate(CASES)])
def test_an_awkward_row(case: Awkward) -> None:
    text, (job_id,) = rows([case])
    found = read(text)
    reasons = [f"{one.column}: {one.reason}" if one.column else one.reason for one in found.set_aside]
    assert all(one.line == 2 for one in found.set_aside)
    if isinstance(case.means, str):
        assert not found.jobs
        assert len(reasons) == 1
        assert reasons[0].startswith(case.means)
        return
    (job,) = found.jobs
    assert job.job_id == job_id
    assert {name: getattr(job, name) for name in case.means} == case.means
    assert len(reasons) == (case.value is not None)
    assert not reasons or reasons[0].startswith(case.value or "")


@pytest.mark.parametrize("delimiter", ["|", "\x1f", "^|^", "\x05\x11\x02\x1a"])
def test_all_rows_in_one_text(delimiter: str) -> None:
    """Nothing is lost between two rows, and the sums are those of what each row means alone."""
    text, _ = rows(CASES, delimiter)
    found = read(text)
    counted = [case for case in CASES if not isinstance(case.means, str)]
    refused = len(CASES) - len(counted)
    assert len(found.jobs) == len(counted)
    assert sum(one.column is None or one.column == "Submit" for one in found.set_aside) == refused
    assert sum(one.column is not None and one.column != "Submit" for one in found.set_aside) == sum(
        case.value is not None for case in counted
    )
    ordinary = read(rows([Awkward({}, {})])[0]).jobs[0]
    for name in ("memory_b", "cpus", "gpus", "energy_j", "cpu_us"):
        alone = [read(rows([case])[0]).jobs[0] for case in counted]
        assert sum(getattr(job, name) or 0 for job in found.jobs) == sum(getattr(job, name) or 0 for job in alone)
    stated = [case.means for case in counted if isinstance(case.means, dict)]
    assert sum(job.energy_j or 0 for job in found.jobs) == sum(means.get("energy_j") or 0 for means in stated)
    assert sum(job.gpus or 0 for job in found.jobs) == sum(means.get("gpus") or 0 for means in stated)
    assert sum(job.cpu_us or 0 for job in found.jobs) == sum(
        means.get("cpu_us", ordinary.cpu_us) or 0 for means in stated
    )


HEADER = "JobID|JobIDRaw|State|Submit|Start|End|Elapsed|AllocCPUS|TotalCPU|MaxRSS|ConsumedEnergyRaw|JobName\n"


def test_steps_add_what_the_row_of_the_job_lacks() -> None:
    """As of 25.05, where the job's own CPU time is 0; a step that is listed twice counts once."""
    step = "17.{0}|17.{0}|COMPLETED|1795000100|1795000100|1795003700|01:00:00|8|{1}|{2}|{3}|{0}\n"
    job = only(
        HEADER
        + "17|17|COMPLETED|1795000000|1795000100|1795003700|01:00:00|8|00:00:00|||job\n"
        + step.format("batch", "00:10.500", "100K", "500")
        + step.format("extern", "00:00.001", "10K", "20")
        + step.format("0", "01:00:00", "2M", "3000")
        + step.format("0", "01:00:00", "2M", "3000")
        + step.format("1", "00:30:00", "1M", "1500")
        + step.format("interactive", "00:00:01", "", "")
    )
    assert job.cpu_us == 10_500_000 + 1_000 + 3_600_000_000 + 1_800_000_000 + 1_000_000
    assert (job.max_rss_b, job.energy_j) == (2 << 20, None)
    assert (job.batch_energy_j, job.extern_energy_j, job.steps_energy_j) == (500, 20, 4500)


def test_steps_of_a_requeued_job_belong_to_the_execution_in_which_they_ran() -> None:
    """Whatever the order of the rows."""
    lines = [
        "17|17|NODE_FAIL|1795000000|1795000100|1795000200|00:01:40|8|00:00:00|||job\n",
        "17.batch|17.batch|CANCELLED|1795000100|1795000100|1795000200|00:01:40|8|00:10:00|1K||batch\n",
        "17|17|COMPLETED|1795000200|1795000300|1795000900|00:10:00|8|00:00:00|||job\n",
        "17.batch|17.batch|COMPLETED|1795000300|1795000300|1795000900|00:10:00|8|00:20:00|2K||batch\n",
    ]
    for text in ("".join(lines), "".join(reversed(lines)), "".join(sorted(lines))):
        jobs = sorted(read(HEADER + text).jobs, key=lambda job: job.submit_s)
        assert [(job.state, job.cpu_us, job.max_rss_b) for job in jobs] == [
            ("NODE_FAIL", 600_000_000, 1024),
            ("COMPLETED", 1_200_000_000, 2048),
        ]


@pytest.mark.parametrize("order", [1, -1])
def test_steps_belong_to_the_job_of_their_cluster(order: int) -> None:
    """Two clusters may use one number at one time."""
    header = HEADER.replace("JobIDRaw|", "JobIDRaw|Cluster|")
    lines = [
        "17|17|a|COMPLETED|1795000000|1795000100|1795000900|00:13:20|8|00:00:00|||job\n",
        "17.0|17.0|a|COMPLETED|1795000000|1795000300|1795000900|00:10:00|8|00:10:00|1K|90|step\n",
        "17|17|b|COMPLETED|1795000000|1795000200|1795000900|00:11:40|8|00:00:00|||job\n",
        "17.0|17.0|b|COMPLETED|1795000000|1795000300|1795000900|00:10:00|8|00:20:00|2K|40|step\n",
    ]
    jobs = sorted(read(header + "".join(lines[::order])).jobs, key=lambda job: job.cluster)
    assert [(job.cluster, job.cpu_us, job.max_rss_b, job.steps_energy_j) for job in jobs] == [
        ("a", 600_000_000, 1024, 90),
        ("b", 1_200_000_000, 2048, 40),
    ]


def test_lines_that_follow_a_row_are_read_once() -> None:
    """All of them were split again at each line: a log of 20,000 lines behind a row took half a minute."""
    row = "17|17|COMPLETED|1795000000|1795000100|1795000900|00:13:20|8|00:00:00|||job\n"
    text = HEADER + row + "a line of a log\n" * 500
    characters = 0

    def count(frame: FrameType, event: str, called: object) -> None:
        nonlocal characters
        if event == "c_call" and getattr(called, "__name__", "") == "split":
            characters += len(getattr(called, "__self__", ""))

    sys.setprofile(count)
    try:
        found = read(text)
    finally:
        sys.setprofile(None)
    assert [job.name for job in found.jobs] == ["job" + "\na line of a log" * 500]
    assert len(text) <= characters < 5 * len(text)


@pytest.mark.parametrize(
    ("column", "value", "aside"),
    [
        ("Elapsed", "999999-00:16:40", 1),
        ("ReqMem", "99999P", 1),
        ("ReqMem", "900Pn", 0),
        ("MaxRSS", "999999999G", 1),
    ],
)
def test_amounts_that_no_ledger_can_hold(column: str, value: str, aside: int) -> None:
    """They are set aside, or unknown where only their product is too large."""
    cells = {"JobID": "17", "Submit": "1795000000", "Start": "1795000000", "End": "1795001000", "State": "COMPLETED"}
    cells |= {"Elapsed": "00:16:40", "AllocCPUS": "8", "NNodes": "999999999", "ReqMem": "", "MaxRSS": ""}
    cells |= {column: value}
    found = read("|".join(cells) + "\n" + "|".join(cells.values()) + "\n")
    assert len(found.set_aside) == aside
    assert [(job.memory_b, job.max_rss_b) for job in found.jobs] == ([] if column == "Elapsed" else [(None, None)])


def test_components_of_a_heterogeneous_job() -> None:
    """J+1 has the next number, also where only JobID was saved; each has its own steps."""
    rest = "COMPLETED|1795000000|1795000100|1795003700|01:00:00|{}|{}|||job\n"
    text = HEADER.replace("JobIDRaw|", "")
    text += "50+0|" + rest.format(4, "00:00:00") + "50+0.batch|" + rest.format(4, "00:20:00")
    text += "50+1|" + rest.format(16, "00:00:00") + "50.0+1|" + rest.format(16, "08:00:00")
    found = read(text)
    assert [(job.job_id, job.cpus, job.cpu_us) for job in found.jobs] == [
        ("50", 4, 1_200_000_000),
        ("51", 16, 28_800_000_000),
    ]


def test_each_execution_has_a_sluid_of_its_own() -> None:
    """24.11 and 26.05 have the column; 22.05 has not."""
    header = HEADER.replace("|JobName", "|SLUID|JobName")
    row = "17|17|{}|{}|1795000100|1795003700|01:00:00|8|00:00:01|||{}|job\n"
    text = header + row.format("REQUEUED", 1795000000, "sEKNKTV3WPV500")
    text += row.format("COMPLETED", 1795003700, "sEKNKTV3WPV501")
    assert [job.sluid for job in read(text).jobs] == ["sEKNKTV3WPV500", "sEKNKTV3WPV501"]
    assert only(HEADER + row.replace("{}|job", "job").format("COMPLETED", 1795000000)).sluid is None


def test_rows_that_are_there_twice_count_once() -> None:
    """Of a job that was running when the first of two outputs was saved, the newer row counts."""
    running = "17|17|RUNNING|1795000000|1795000100|Unknown|00:30:00|8|00:00:00|||job\n"
    done = "17|17|COMPLETED|1795000000|1795000100|1795003700|01:00:00|8|07:00:00|||job\n"
    for text in (HEADER + running + HEADER + done, HEADER + done + running, HEADER + done + done):
        found = read(text)
        assert [job.state for job in found.jobs] == ["COMPLETED"]
        assert (found.rows, found.repeated) == (2, 1)


def test_a_job_that_was_cancelled_while_it_waited() -> None:
    """22.05 gives it the time of its end as its start, and the CPUs that it asked for."""
    header = HEADER.replace("|JobName", "|NodeList|JobName")
    row = "17|17|CANCELLED by 1000|1795000000|1795000900|1795000900|00:00:00|1|00:00:00|||{}|job\n"
    assert only(header + row.format("None assigned")).start_s is None
    assert only(header + row.format("n1")).start_s == 1795000900


def test_local_times_when_the_clock_is_set_back() -> None:
    """2026-10-25 03:00 in Berlin became 02:00. The elapsed time decides which of the two hours it was."""
    row = "17|17|COMPLETED|2026-10-25T01:30:00|{}|{}|{}|8|07:00:00|||job\n"
    before = only(HEADER + row.format("2026-10-25T02:10:00", "2026-10-25T02:20:00", "00:10:00"), BERLIN)
    assert (before.start_s, before.elapsed_s) == (1792887000, 600)
    across = only(HEADER + row.format("2026-10-25T02:10:00", "2026-10-25T02:20:00", "01:10:00"), BERLIN)
    assert (across.start_s, across.end_s, across.elapsed_s) == (1792887000, 1792891200, 4200)
    after = only(HEADER + row.format("2026-10-25T02:50:00", "2026-10-25T03:10:00", "00:20:00"), BERLIN)
    assert (after.start_s, after.end_s) == (1792893000, 1792894200)


def test_a_step_without_its_job_is_set_aside() -> None:
    found = read(HEADER + "18.batch|18.batch|COMPLETED|1|1|1|00:00:01|1|00:01.000|1K||batch\n")
    assert not found.jobs
    assert [(one.line, one.column, one.reason) for one in found.set_aside] == [
        (2, "Start", "'1' is not a time between 2000 and 2200")
    ] or [(one.line, one.reason) for one in found.set_aside] == [(2, "Start: '1' is not a time between 2000 and 2200")]
    found = read(HEADER + "18.batch|18.batch|COMPLETED|||1795000000|00:00:01|1|00:01.000|1K||batch\n")
    assert [(one.line, one.reason) for one in found.set_aside] == [(2, "is a step of a job that has no row here")]


def test_cells_that_fit_two_columns_of_text_are_not_guessed() -> None:
    header = "JobID|Submit|Start|End|Elapsed|State|AllocCPUS|JobName|Comment\n"
    found = read(header + "17|1795000000|1795000100|1795003700|01:00:00|COMPLETED|8|a|b|c\n")
    assert not found.jobs
    assert found.set_aside[0].reason == "has 10 cells for 9 columns, and could be read in more than one way"
    assert found.set_aside[0].content.endswith("|a|b|c")


def test_notices_and_broken_lines_around_the_rows() -> None:
    good = "17|17|COMPLETED|1795000000|1795000100|1795003700|01:00:00|8|07:00:00|||job\n"
    found = read("Welcome to c1!\n\n" + HEADER + "a notice\n" + good + "18|18|COMPL\n" + good.replace("17", "19", 2))
    assert [job.job_id for job in found.jobs] == ["17", "19"]
    assert [(one.line, one.reason) for one in found.set_aside] == [
        (4, "does not begin with a job id"),
        (6, "has 3 of 12 cells"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "|\n"),  # sacct -p
        lambda text: text.replace("|", ";"),
        lambda text: text.replace("|", "\t"),
        lambda text: text.replace("|", ","),
        lambda text: text.replace("|", " ^ "),
        lambda text: text.replace("JobIDRaw", "jobidraw").replace("State", "STATE"),
        lambda text: text.rstrip("\n"),
    ],
)
def test_other_forms_of_one_output(change: object) -> None:
    assert callable(change)
    text = HEADER + "17|17|COMPLETED|1795000000|1795000100|1795003700|01:00:00|8|07:00:00|1K|5|job\n"
    job = only(change(text))
    assert (job.job_id, job.elapsed_s, job.cpus, job.max_rss_b, job.energy_j, job.name) == (
        *("17", 3600, 8, 1024, 5),
        "job",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no header that names columns of sacct"),
        ("hello\nworld\n", "has no header that names columns of sacct"),
        ('{"jobs": []}\n', "has no header that names columns of sacct"),
        ("JobID           JobName  Partition\n------- ------- ------\n", "has columns of fixed width"),
        ("JobID|JobName|State|Submit|Start\n", "lacks ElapsedRaw or Elapsed, AllocCPUS or NCPUS: add them to --format"),
        ("JobID|State|Start|Elapsed|NCPUS\n", "lacks Submit: add it to --format"),
    ],
)
def test_output_that_is_not_of_sacct(text: str, why: str) -> None:
    with pytest.raises(NoHeader, match=f"^{why}"):
        read(text)


def test_a_name_with_an_unexpected_delimiter_cannot_forge_a_row() -> None:
    evil = "x\n99|99|COMPLETED|1795000000|1795000100|1795003700|01:00:00|8|07:00:00|||a\n" + HEADER.rstrip("\n")
    between = "\x05\x11\x02\x1a"
    row = "17|17|COMPLETED|1795000000|1795000100|1795003700|01:00:00|8|07:00:00|||".replace("|", between)
    job = only(f"{HEADER.replace('|', between)}{row}{evil}\n")
    assert job.name == evil


def test_the_delimiter_of_a_header() -> None:
    assert delimiter_of("JobID|State|Submit") == "|"
    assert delimiter_of("JobID State,Submit") is None
    assert delimiter_of("Elapsed|State|Submit") is None
    assert len(ORDINARY) == 25
