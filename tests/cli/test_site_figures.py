"""``site audit-energy`` and ``site calibrate`` as an operator uses them, after an import that asks a Slurm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm
from sacct_rows import ORDINARY
from sandbox import Sandbox

from hpcfrugal.core.user import user_name
from hpcfrugal.ledger.published_files import ledger_of

CONFIG = """Configuration data
AcctGatherEnergyType = acct_gather_energy/ipmi
AcctGatherNodeFreq = 30 sec
ClusterName = c1
PrologFlags = Contain
SLURM_VERSION = 24.11.5
"""
NODES = "n1|8|1|8|16000|(null)|(null)|NO\nn2|8|1|8|16000|(null)|(null)|NO\n"
NAMES = [name for name in ORDINARY if name != "CPUTimeRAW"]
JOULES = 200 * 3600
SACCT = """
for word in "$@"; do
    case "$word" in
        --helpformat) printf '%s\\n' {names}; exit 0 ;;
        --delimiter=*) between=${{word#*=}} ;;
    esac
done
line='{header}'
printf '%s\\n' "${{line//|/$between}}"
"""
"""A sacct without jobs."""


def rows(*rows: dict[str, str]) -> str:
    return "".join("|".join(one) + "\n" for one in (NAMES, *([row[name] for name in NAMES] for row in rows)))


def job(job_id: str, **cells: str) -> dict[str, str]:
    return ORDINARY | {"JobID": job_id, "JobIDRaw": job_id, "ConsumedEnergyRaw": str(JOULES)} | cells


@pytest.fixture
def site(box: Sandbox, tmp_path: Path) -> Sandbox:
    """A site whose ledger has a job that had its node alone, one that shared it, and one without energy."""
    slurm = FakeSlurm(tmp_path / "slurm")
    slurm.answer("scontrol", CONFIG)
    slurm.answer("sinfo", NODES)
    slurm.answer("sacct", then=SACCT.format(names=" ".join(NAMES), header="|".join(NAMES)))
    box.env["PATH"] = f"{slurm.bin}:{box.env['PATH']}"
    box.ok("ledger", "import", "sacct", "--since", "1d")
    saved = rows(job("1"), job("2", AllocCPUS="4"), job("3", ConsumedEnergyRaw="0"))
    box.ok("ledger", "import", "sacct", "--from", box.write("saved.txt", saved))
    return box


def test_an_import_keeps_what_is_known_of_the_cluster(site: Sandbox) -> None:
    (path,) = site.home.glob("**/clusters/c1/facts.json")
    facts = json.loads(path.read_text())
    (setup,) = facts["setups"]
    assert {key: setup[key] for key in ("release", "plugin", "contain", "step_s")} == {
        "release": "24.11.5", "plugin": "ipmi", "contain": True, "step_s": 30,
    }  # fmt: skip
    assert [(one["nodes"], one["cpus"]) for one in facts["classes"]] == [("n[1-2]", 8)]


def test_the_verdict_and_why(site: Sandbox) -> None:
    text = " ".join(site.ok("site", "audit-energy", "--since", "all").split())
    for part in (
        "c1, Slurm 24.11.5, ipmi: measured (jobs that had their nodes alone take Slurm's energy).",
        "Why: compared with 0 measured jobs, too few to confirm it.",
        "1 job measured: of the job, with an extern step that is not in the text.",
        "1 job upper bound: the job did not have its nodes alone.",
        "1 job unusable: Slurm has no energy of the job, or 0.",
        "Nothing has changed: `--keep` puts these verdicts in force.",
    ):
        assert part in text, part
    found = json.loads(site.ok("site", "audit-energy", "--since", "all", "--json"))
    (setup,) = found["setups"]
    assert (setup["verdict"], setup["measured"], setup["upper_bound"], setup["unusable"]) == ("measured", 1, 1, 1)
    assert (setup["ratio"], setup["compared"], found["kept"]) == (None, 0, False)


def test_a_verdict_that_is_kept_counts_in_reports(site: Sandbox) -> None:
    command = ("report", "--since", "all", "--no-sync", "--json")
    assert {one["measured_j"] for one in json.loads(site.ok(*command))["jobs"]} == {None}
    found = json.loads(site.ok("site", "audit-energy", "--since", "all", "--keep", "--json"))
    assert found["kept"]
    report = json.loads(site.ok(*command))
    jobs = {one["job_id"]: one for one in report["jobs"]}
    assert (jobs["1"]["measured_j"], jobs["1"]["boundary"], jobs["1"]["energy_j"]["node"]) == (JOULES, "node", JOULES)
    assert (jobs["2"]["measured_j"], jobs["2"]["boundary"]) == (None, "components")
    assert {one["quality"] for one in jobs["2"]["channels"]} == {"modelled", "upper bound"}
    text = site.ok("report", "1", "--no-sync")
    assert "slurm-energy" in text
    text = " ".join(site.ok("report", "2", "--no-sync").split())
    assert "upper bound" in text
    assert "an upper bound, not counted: the job did not have its nodes alone" in text
    groups = json.loads(site.ok("report", "--since", "all", "--no-sync", "--json", "--by", "partition"))["groups"]
    assert [group["footprint"]["boundary"] for group in groups] == ["components and node"]
    assert site.run("ledger", "check").code == 0


def test_without_measured_jobs_there_is_nothing_to_calibrate(site: Sandbox) -> None:
    text = site.ok("site", "calibrate", "--since", "all", "--keep")
    assert "No job of a minute or more was measured that Slurm's accounting has too: the model stays as it is." in text
    found = json.loads(site.ok("site", "calibrate", "--since", "all", "--json"))
    assert (found["models"], found["measured_jobs"]) == ([], 0)


def test_the_spool_and_ledger_of_the_site_come_first(site: Sandbox) -> None:
    own, shared = site.home / ".local/share/hpcfrugal", site.home / "shared"
    own.rename(shared)
    site.settings(f'[site]\nspool = "{shared}/spool"\nledger = "{shared}/ledger.db"\n')
    setups = json.loads(site.ok("site", "audit-energy", "--since", "all", "--keep", "--json"))
    assert setups
    assert (shared / "spool/clusters/c1/energy.json").is_file()
    for command in ("closure", "calibrate"):
        site.ok("site", command, "--since", "all")
    assert not own.exists()


def test_hints_name_the_command_that_fills_the_ledger(site: Sandbox) -> None:
    ledger, published = site.home / ".local/share/hpcfrugal/ledger.db", site.home / "published"
    shared, mine = site.home / "site.db", ledger_of(published, user_name(), None)
    mine.parent.mkdir(parents=True)
    shutil.copy(ledger, mine)
    shutil.copy(ledger, shared)
    site.settings(f'[site]\nledger = "{shared}"\npublished = "{published}"\n')
    for option, command in (("--site", "site sync"), ("--published", "site publish"), ("--no-sync", "ledger sync")):
        assert f"(run `hpcfrugal {command}` first)" in site.run("report", option, "nosuch").err
        out = site.ok("report", option, "--month", "2020-01")
        assert out == f"No jobs in this period. `hpcfrugal {command}` brings the ledger up to date.\n"
