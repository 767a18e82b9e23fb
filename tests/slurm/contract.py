"""What a client of Slurm has to do, on a real Slurm: the same checks for its commands and for pyslurm.

`python -m contract FOLDER`, which `scripts/pyslurm-lab` runs, prints a table of both and their rates; with `--commands`
it runs the checks for the commands alone, on any Slurm.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from hpcfrugal.core.errors import SetupError
from hpcfrugal.job.batch_script import quote_flag
from hpcfrugal.slurm.client import CommandClient, SlurmClient
from hpcfrugal.slurm.nodes import HardwareRequest
from hpcfrugal.slurm.queue import QueueStates
from hpcfrugal.slurm.submission import SubmitJob
from hpcfrugal.slurm.updates import CancelJobs, HoldJob, ReleaseJob, UpdateJob

_BASE = ("--job-name=contract", "--ntasks=1", "--cpus-per-task=1", "--time=2", "--mem=50M")
_OF_THE_RUN = re.compile(
    r"SLURM_(JOB_?ID|JOB_START_TIME|JOB_END_TIME|TASK_PID|TOPOLOGY\w+|JOB_NAME|SUBMIT_HOST)|_|SHLVL|PWD|OLDPWD|COLUMNS|LINES"
)
_OF_ONE_JOB = frozenset(
    {
        *("JobId", "SubmitTime", "EligibleTime", "AccrueTime", "StartTime", "EndTime", "LastSchedEval", "RunTime"),
        *("Priority", "Reason", "JobState", "Command", "Scheduler", "NodeList", "BatchHost", "AllocTRES", "ExitCode"),
        *("SubmitLine", "TresPerTask", "OOMKillStep"),  # see pyslurm_client
    }
)


def submission(script: Path) -> SubmitJob:
    """The request to submit a script without further options."""
    return SubmitJob(script, script.read_bytes(), ())


class Trial:
    """A client under test, with a folder for its jobs."""

    def __init__(self, client: SlurmClient, folder: Path) -> None:
        self.client, self._folder, self._count, self.ids = client, folder, 0, list[str]()

    def script(self, *flags: str, body: str = "true") -> Path:
        self._count += 1
        path = self._folder / f"script-{self._count}"
        lines = [f"#SBATCH {quote_flag(flag)}" for flag in (*_BASE, *flags)]
        path.write_text("\n".join(["#!/bin/bash", *lines, "", body, ""]))
        return path

    def submit(self, *flags: str, body: str = "true") -> str:
        job_id = self.client.ask(submission(self.script(*flags, body=body))).job_id
        self.ids.append(job_id)
        return job_id

    def cancel(self) -> None:
        for job_id in self.ids:
            with suppress(SetupError):
                self.client.ask(CancelJobs([job_id]))

    def state(self, job_id: str) -> Any:
        (state,) = self.client.ask(QueueStates([job_id])).states
        return state


def shown(job_id: str) -> Mapping[str, str]:
    """What Slurm itself shows of a job, by `scontrol show job`."""
    text = subprocess.run(
        ["scontrol", "--oneliner", "show", "job", job_id], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]
    return dict(re.findall(r"(\S+?)=(.*?)\s*(?= \S+?=|$)", text))


def until(condition: Callable[[], Any], timeout_s: float = 20) -> Any:
    """What ``condition`` gives, once that is true."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, "not in time"
        time.sleep(0.1)
    return found


def check_options(trial: Trial) -> None:
    """Options reach Slurm as they stand in the script."""
    flags = ["--hold", "--job-name=a job", "--comment=run 3; of 7", "--nodes=1", "--requeue", "--partition=batch"]
    job = shown(trial.submit(*flags, "--output=out.%j"))
    asked = {
        "JobName": "a job", "Comment": "run 3; of 7", "Requeue": "1", "Partition": "batch", "TimeLimit": "00:02:00",
        "Priority": "0",
    }  # fmt: skip
    found = {key: job.get(key) for key in asked}
    assert found == asked, found
    assert job["StdOut"].endswith(f"/out.{job['JobId']}"), job["StdOut"]


def check_refusal(trial: Trial) -> None:
    """A job that Slurm does not take is refused with its reason, and not in the queue."""
    refused = ""
    try:
        trial.submit("--partition=nowhere")
    except SetupError as error:
        refused = error.message
    assert re.search("refused the job: .*artition", refused), refused


def check_query(trial: Trial) -> None:
    """A waiting job is in the queue, one that does not exist is not."""
    job_id = trial.submit("--hold")
    state = trial.state(job_id)
    assert (state.job_id, state.state, state.queued, state.start_at, state.nodes) == (job_id, "PENDING", True, None, ())
    assert abs(datetime.now(UTC) - state.submit_at) < timedelta(minutes=1)
    assert [one.job_id for one in trial.client.ask(QueueStates([job_id, "999999"])).states] == [job_id]


def check_array(trial: Trial) -> None:
    """The waiting tasks of an array are listed under its id."""
    job_id = trial.submit("--hold", "--array=0-3%2")
    states = trial.client.ask(QueueStates([job_id])).states
    assert {(one.array_job_id, one.array_task_id, one.state) for one in states} == {(job_id, None, "PENDING")}
    assert shown(job_id)["ArrayTaskId"] == "0-3%2"


def check_start_time(trial: Trial) -> None:
    """The start of a waiting job can be set and changed, and one that does not exist is refused with a reason."""
    job_id = trial.submit("--begin=now+3hour")
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    assert trial.client.ask(UpdateJob(job_id, start, "moved")) is None
    local = f"{start.astimezone():%Y-%m-%dT%H:%M:%S}"
    assert (shown(job_id)["StartTime"], shown(job_id)["Comment"]) == (local, "moved")
    assert "nvalid job id" in str(trial.client.ask(UpdateJob("999999", start)))
    assert trial.client.ask(UpdateJob(job_id, "now")) is None
    until(lambda: not trial.client.ask(QueueStates([job_id])).states or trial.state(job_id).state != "PENDING")


def check_hold(trial: Trial) -> None:
    """A waiting job can be held and released, and one that does not exist is refused with a reason."""
    job_id = trial.submit("--begin=now+3hour")
    assert trial.client.ask(HoldJob(job_id)) is None
    assert trial.state(job_id).held
    assert shown(job_id)["Priority"] == "0"
    assert trial.client.ask(ReleaseJob(job_id)) is None
    assert not trial.state(job_id).held
    assert shown(job_id)["Priority"] != "0"
    for request in (HoldJob("999999"), ReleaseJob("999999")):
        assert "nvalid job id" in str(trial.client.ask(request))


def check_nodes(trial: Trial) -> None:
    """The hardware of a node as its configuration has it."""
    nodes = trial.client.ask(HardwareRequest())
    name, node = next(iter(nodes.items()))
    text = subprocess.run(["scontrol", "show", "node", name], capture_output=True, text=True, check=True).stdout
    asked = {key: int(value) for key, value in re.findall(r"(CPUTot|RealMemory)=(\d+)", text)}
    assert (node.cpus, node.memory_mib) == (asked["CPUTot"], asked["RealMemory"])
    features = re.search(r"AvailableFeatures=(\S+)", text)
    assert features is not None
    assert node.features == (None if features[1] == "(null)" else features[1])


CHECKS = (check_options, check_refusal, check_query, check_array, check_start_time, check_hold, check_nodes)


def run_checks(client: SlurmClient, folder: Path) -> dict[str, str]:
    """The outcome of each check: "ok", or what was wrong."""
    outcome = {}
    trial = Trial(client, folder)
    try:
        for check in CHECKS:
            try:
                check(trial)
                outcome[check.__name__.removeprefix("check_")] = "ok"
            except Exception as error:
                outcome[check.__name__.removeprefix("check_")] = f"{type(error).__name__}: {error}"
    finally:
        trial.cancel()
    return outcome


# Both side by side


def differences(one: Trial, other: Trial, folder: Path) -> list[str]:
    """How the same job differs between two clients: in what Slurm shows of it, and in its environment."""
    found = []
    for number, flags in enumerate(
        [
            ("--nodes=1",),
            ("--nodes=1", "--job-name=x y", "--comment=c", "--requeue"),
            ("--no-requeue",),
        ]
    ):
        seen = []
        for name, trial in (("one", one), ("other", other)):
            out = folder / f"environment-{number}-{name}"
            out.unlink(missing_ok=True)
            job_id = trial.submit(*flags, f"--output={out}", body="env; ulimit -a; umask; echo end")
            # A job of one task has one node, whether Slurm writes that as 1 or as 1-1.
            job = {key: text.replace(str(out), "").replace("1-1", "1") for key, text in shown(job_id).items()}
            job = {key: text for key, text in job.items() if key not in _OF_ONE_JOB}
            until(lambda out=out: out.exists() and out.read_text().endswith("end\n"))
            lines = [line for line in out.read_text().splitlines() if not _OF_THE_RUN.fullmatch(line.partition("=")[0])]
            seen.append(({*job.items()}, {*lines}))
        for kind, ours, theirs in zip(("scontrol", "environment"), *seen, strict=True):
            found += [f"{kind} {flags}: {sorted(ours - theirs)} / {sorted(theirs - ours)}"] if ours != theirs else []
    return found


def rates_of(clients: Mapping[str, SlurmClient], folder: Path, rounds: int = 5, count: int = 40) -> dict[str, float]:
    """Submissions a second, of jobs that are held; in turns, as a machine is not equally busy all the time."""
    path = Trial(CommandClient(), folder).script("--hold", "--output=/dev/null", "--nodes=1")

    def bare() -> None:
        subprocess.run(["sbatch", "--parsable", path], capture_output=True, check=True)

    ways: dict[str, Callable[[], Any]] = {"bare sbatch loop": bare}
    ways |= {name: partial(client.ask, submission(path)) for name, client in clients.items()}
    spent_s = dict.fromkeys(ways, 0.0)
    for _ in range(rounds):
        for name, submit in ways.items():
            begun = time.perf_counter()
            for _ in range(count):
                submit()
            spent_s[name] += time.perf_counter() - begun
        subprocess.run(["scancel", "--name=contract"], check=True)
    return {name: rounds * count / one for name, one in spent_s.items()}


def main(folder: Path, *only: str) -> int:
    """Print the table; returns 1 where a check failed. With ``--commands`` only for these."""
    from hpcfrugal.slurm.pyslurm_client import PyslurmClient
    from hpcfrugal.slurm.pyslurm_probe import why_not_pyslurm
    from hpcfrugal.slurm.pyslurm_process import PyslurmProcess

    (folder / "jobs").mkdir(exist_ok=True)
    if only == ("--commands",):
        outcome = run_checks(CommandClient(), folder / "jobs")
        print(*(f"{name}: {text}" for name, text in outcome.items()), sep="\n")
        return int({*outcome.values()} != {"ok"})
    if (why_not := why_not_pyslurm()) is not None:
        print(f"contract: {why_not}", file=sys.stderr)
        return 1
    with PyslurmProcess() as process:
        process.configuration()
        clients = {"commands": CommandClient(), "pyslurm": PyslurmClient(process, CommandClient())}
        return compare(clients, folder / "jobs")


def compare(clients: Mapping[str, SlurmClient], folder: Path) -> int:
    """Print the table; returns 1 where a check failed or the same job differs."""
    outcomes = {name: run_checks(client, folder) for name, client in clients.items()}
    print(f"{'check':12}" + "".join(f"  {name:10}" for name in clients))
    for check in CHECKS:
        name = check.__name__.removeprefix("check_")
        print(f"{name:12}" + "".join(f"  {outcome[name]:10}" for outcome in outcomes.values()))
    one, other = (Trial(client, folder) for client in clients.values())
    unlike = differences(one, other, folder)
    print(f"{'same job':12}  {'ok' if not unlike else chr(10).join(unlike)}")
    for name, rate in rates_of(clients, folder).items():
        print(f"{name:20}{rate:8.0f} jobs/s")
    return int(bool(unlike) or any(text != "ok" for outcome in outcomes.values() for text in outcome.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
