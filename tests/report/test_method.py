"""The report by the method of the Green Algorithms, against a calculation of its own from the text of sacct."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from sandbox import Sandbox

SETTINGS = """
[methods.green-algorithms]
core_power_w = 6.3
gpu_power_w = 300
pue = 1.15
g_per_kwh = 253.19

[methods.green-algorithms.partitions.gpu]
core_power_w = 4.84375
gpu_power_w = 250
g_per_kwh = 51.28
"""

HEADER = "JobID|Partition|State|Submit|Start|End|ElapsedRaw|NCPUS|TotalCPU|ReqMem|AllocTRES|NodeList|Cluster|JobName"
ROWS = """
101|batch|COMPLETED|1795000000|1795000100|1795014545|14445|1|03:21:07|6Gc|billing=1,cpu=1,node=1|n1|c1|one
102|gpu|TIMEOUT|1795000000|1795000100|1795010930|10830|32|00:00:00|250Gn|billing=32,cpu=32,gres/gpu=1,node=1|n2|c1|two
103|batch|FAILED|1795000000|1795000200|1795003800|3600|64|2-10:00:00|2G|cpu=64,node=2|n[1-2]|c1|three
104|gpu|COMPLETED|1795000000|1795000100|1795086500|86400|8|5-00:00:00|64G|cpu=8,gres/gpu:a100=4,gres/gpu=4,node=1|n3|c1|four
105|batch|CANCELLED by 1|1795000000|1795000100|1795000107|7|2|00:01.500|512M|cpu=2,node=1|n1|c1|five
"""


def by_hand(row: dict[str, str]) -> tuple[float, float]:
    """kWh and grams, step by step as GreenAlgorithms4HPC goes from the columns of sacct."""
    on_gpus = row["Partition"] == "gpu"
    watts_per_core, watts_per_gpu, g_per_kwh = (4.84375, 250, 51.28) if on_gpus else (6.3, 300, 253.19)
    days, _, clock = row["TotalCPU"].rpartition("-")
    parts = [float(part) for part in clock.split(":")]
    cpu_s = sum(part * 60**power for power, part in enumerate(reversed(parts))) + 86400 * int(days or 0)
    if cpu_s == 0:
        cpu_s = int(row["ElapsedRaw"]) * int(row["NCPUS"])
    asked = row["ReqMem"].rstrip("nc")
    gigabytes = float(asked[:-1]) / {"M": 1024, "G": 1}[asked[-1]]
    if row["ReqMem"].endswith("c"):
        gigabytes *= int(row["NCPUS"])
    gpus = next((int(one.rpartition("=")[2]) for one in row["AllocTRES"].split(",") if one.startswith("gres/gpu=")), 0)
    hours = int(row["ElapsedRaw"]) / 3600
    cpu_kwh = cpu_s / 3600 * watts_per_core / 1000
    gpu_kwh = hours * gpus * watts_per_gpu / 1000
    memory_kwh = hours * gigabytes * 0.3725 / 1000
    kwh = (cpu_kwh + gpu_kwh + memory_kwh) * 1.15
    return kwh, kwh * g_per_kwh


@pytest.fixture
def site(box: Sandbox) -> Sandbox:
    box.settings(SETTINGS)
    box.ok("ledger", "import", "sacct", "--from", box.write("saved.txt", HEADER + ROWS))
    return box


def report(box: Sandbox, *options: str | Path) -> dict[str, Any]:
    command = ("report", "--method", "green-algorithms", "--since", "all", "--no-sync", "--json")
    found: dict[str, Any] = json.loads(box.ok(*command, *options))
    return found


def test_energy_and_grams_are_those_of_the_method(site: Sandbox) -> None:
    rows = {row["JobID"]: row for row in csv.DictReader(io.StringIO(HEADER + ROWS), delimiter="|")}
    found = report(site)
    assert len(found["jobs"]) == len(rows) == 5
    for job in found["jobs"]:
        kwh, grams = by_hand(rows[job["job_id"]])
        assert job["energy_kwh"] == pytest.approx(kwh, rel=1e-6)
        assert job["co2e_g"] == pytest.approx(grams, rel=1e-6)
    both = [by_hand(row) for row in rows.values()]
    assert found["totals"]["energy_kwh"] == pytest.approx(sum(kwh for kwh, _ in both), rel=1e-6)
    assert found["totals"]["co2e_g"] == pytest.approx(sum(grams for _, grams in both), rel=1e-6)
    assert (found["method"], found["method_version"]) == ("green-algorithms", "Lannelongue 2021")
    assert (found["totals"]["complete"], found["totals"]["co2e_complete"]) == (True, True)


def test_a_pue_by_month_counts_with_the_figure_of_the_months_of_each_job(site: Sandbox) -> None:
    site.settings(SETTINGS.replace("pue = 1.15", "pue = {2026-11 = 1.5, 2026-12 = 1.25}"))
    jobs = {job["job_id"]: job for job in report(site)["jobs"]}
    assert {job["pue"] for job in jobs.values()} == {1.5}
    rows = {row["JobID"]: row for row in csv.DictReader(io.StringIO(HEADER + ROWS), delimiter="|")}
    assert jobs["101"]["energy_kwh"] == pytest.approx(by_hand(rows["101"])[0] / 1.15 * 1.5, rel=1e-6)


def test_the_sum_is_of_all_jobs_and_the_list_of_the_latest(box: Sandbox) -> None:
    box.settings(SETTINGS)
    row = "{}|batch|COMPLETED|1795000000|{}|{}|3600|1|01:00:00|1G|cpu=1,node=1|n1|c1|one"
    rows = [row.format(each, 1795000000 + each, 1795003600 + each) for each in range(101, 126)]
    box.ok("ledger", "import", "sacct", "--from", box.write("saved.txt", "\n".join([HEADER, *rows])))
    command = ("report", "--method", "green-algorithms", "--since", "all", "--no-sync")
    text = box.ok(*command)
    assert "25 jobs: " in text
    assert "The latest 20 of 25 jobs; `--all` lists them all." in text
    assert [line[:3] for line in text.splitlines() if line[:3].isdecimal()] == [str(each) for each in range(106, 126)]
    found = report(box)
    assert (found["totals"]["jobs"], len(found["jobs"])) == (25, 25)
    assert found["totals"]["energy_kwh"] == pytest.approx(25 * (0.0063 + 0.0003725) * 1.15)


def test_the_ledgers_own_figures_are_others(site: Sandbox) -> None:
    jobs = json.loads(site.ok("report", "--since", "all", "--no-sync", "--json"))["jobs"]
    assert {channel["source"] for job in jobs for channel in job["channels"]} == {
        "model-tdp", "model-memory", "model-gpu",
    }  # fmt: skip


def test_a_table_names_its_content(site: Sandbox) -> None:
    text = site.ok("report", "--method", "green-algorithms", "--since", "all", "--no-sync")
    assert "Method green-algorithms (Lannelongue 2021): from what jobs held, with the PUE; not measured" in text
    assert "5 jobs: " in text
    assert "Energy [kWh]" in text
    assert "Energy [J]" in site.ok(
        "report", "--method", "green-algorithms", "--since", "all", "--no-sync", "--unit", "J"
    )


def test_without_a_pue_the_note_names_none(site: Sandbox) -> None:
    command = ("report", "--method", "green-algorithms", "--since", "all", "--no-sync")
    config = site.home / ".config/hpcfrugal/config.toml"
    config.write_text(SETTINGS.replace("pue = 1.15\n", ""))
    found = report(site)
    assert {job["pue"] for job in found["jobs"]} == {None}
    rows = {row["JobID"]: row for row in csv.DictReader(io.StringIO(HEADER + ROWS), delimiter="|")}
    for job in found["jobs"]:
        assert job["energy_kwh"] == pytest.approx(by_hand(rows[job["job_id"]])[0] / 1.15, rel=1e-6)
    assert "from what jobs held, without a PUE; not measured" in site.ok(*command)
    config.write_text(SETTINGS.replace("pue = 1.15\n", "") + "pue = 1.3\n")
    assert "from what jobs held, with the PUE, but for 3 jobs; not measured" in site.ok(*command)


def test_what_is_missing_is_unknown(site: Sandbox) -> None:
    (site.home / ".config/hpcfrugal/config.toml").write_text("[methods.green-algorithms]\ncore_power_w = 6.3\n")
    found = report(site)
    unknown = {job["job_id"] for job in found["jobs"] if job["energy_kwh"] is None}
    assert unknown == {"102", "104"}  # they held GPUs
    assert all(job["co2e_g"] is None for job in found["jobs"])
    assert (found["totals"]["jobs_unknown"], found["totals"]["complete"]) == (2, False)


def test_a_sum_of_which_every_part_is_missing_is_unknown(box: Sandbox) -> None:
    box.settings("[methods.green-algorithms]\ncore_power_w = 6.3\n")
    on_gpus = "".join(line + "\n" for line in ROWS.splitlines() if "|gpu|" in line)
    box.ok("ledger", "import", "sacct", "--from", box.write("saved.txt", f"{HEADER}\n{on_gpus}"))
    text = box.ok("report", "--method", "green-algorithms", "--since", "all", "--no-sync")
    assert "\n2 jobs: energy unknown\n" in text
    assert "≥" not in text


def test_co2e_of_some_partitions_alone_is_a_lower_bound(site: Sandbox) -> None:
    site.settings(SETTINGS.replace("g_per_kwh = 253.19\n", ""))
    found = report(site)
    known = [job["co2e_g"] for job in found["jobs"] if job["co2e_g"] is not None]
    assert (len(known), len(found["jobs"])) == (2, 5)
    totals = found["totals"]
    assert totals["co2e_g"] == pytest.approx(sum(known), rel=1e-6)
    assert (totals["complete"], totals["co2e_complete"]) == (True, False)
    text = " ".join(site.ok("report", "--method", "green-algorithms", "--since", "all", "--no-sync").split())
    assert ", ≥ " in text
    assert "Of 3 jobs the CO2e is missing: their partition has no g_per_kwh." in text


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (
            "",
            "--method: the settings have no figures for green-algorithms (put [methods.green-algorithms] with core_pow",
        ),
        (
            "[methods.green-algorithms]\n",
            "config.toml:1: methods.green-algorithms.core_power_w: is missing (for example",
        ),
        ("[methods.x]\n", "config.toml:1: methods.x: is not a method (known: green-algorithms)"),
        (
            "[methods.green-algorithms]\ncore_power_w = 6\npue = 0.5\n",
            "config.toml:3: methods.green-algorithms.pue: needs a number from 1 to 10",
        ),
        (
            "[methods.green-algorithms]\ncore_power_w = 6\n[methods.green-algorithms.partitions.gpu]\ncore_watts = 3\n",
            "methods.green-algorithms.partitions.gpu.core_watts: is not a setting of a partition of a method (known: ",
        ),
        (
            "[methods.green-algorithms]\ncore_power_w = 6\npartitions = 3\n",
            "config.toml:3: methods.green-algorithms.partitions: needs a table for each partition",
        ),
    ],
)
def test_mistakes_in_the_settings(box: Sandbox, settings: str, error: str) -> None:
    path = box.settings(settings)
    failed = box.run("report", "--method", "green-algorithms")
    assert failed.code == 2
    assert error in failed.err.replace(f"{path.parent}/", "")


def test_it_cannot_be_combined(site: Sandbox) -> None:
    failed = site.run("report", "--method", "green-algorithms", "--by", "user", "--savings")
    assert failed.code == 2
