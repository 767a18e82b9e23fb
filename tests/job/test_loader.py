"""Job files: what they give, and everything that is wrong with them at once."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.job import JobSpec, job_from_mapping, load_job, naming_lines
from hpcfrugal.job.sbatch_flags import sbatch_flags

FULL = """\
name: no
command: |
  set -e
  python train.py
env: {OMP_NUM_THREADS: 4, VERSION: 1.10, EMPTY: , ON: yes}
modules: [gcc/12, openmpi]
container: {image: torch.sif, nv: yes, binds: ["/scratch:/data"]}
template: mpi
workdir: runs
output: logs/%x-%j.out
resources:
  nodes: 2-4
  ntasks_per_node: 8
  mem: 4096
  gpus_per_node: h100:4
  gres: [nvme:1, fpga:1]
  time: 1:30:00
  partition: [batch, green]
  array: 0-15%4
  exclusive: on
  requeue:
energy: {interval: 0.5, record: 30s}
schedule:
  policy: low-carbon
  deadline: 2026-05-31T18:00+02:00
  min_saving: 5 %
  signal: marginal
  interruptible: {signal: SIGUSR1, grace: 2m}
tags: {project: climate, phase: training, run: 7}
sbatch: {wckey: END}
"""


def write(folder: Path, text: str, name: str = "job.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    """The problems of a job file, the folder left out of their places."""
    with pytest.raises(InputError) as caught:
        load_job(write(folder, text))
    assert caught.value.exit_code == 2
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_a_full_file(tmp_path: Path) -> None:
    job = load_job(write(tmp_path, FULL))
    assert job.name == "no"
    assert job.command == "set -e\npython train.py\n"
    assert job.env == {"OMP_NUM_THREADS": "4", "VERSION": "1.10", "EMPTY": "", "ON": "yes"}
    assert job.modules == ("gcc/12", "openmpi")
    assert job.container is not None
    assert (job.container.image, job.container.nv, job.container.binds) == ("torch.sif", True, ("/scratch:/data",))
    assert job.workdir == str(tmp_path / "runs")
    resources = job.resources
    assert resources.nodes == "2-4"
    assert resources.ntasks_per_node == 8
    assert resources.mem == "4G"
    assert resources.gres == "nvme:1,fpga:1"
    assert resources.time == timedelta(minutes=90)
    assert resources.partition == "batch,green"
    assert resources.exclusive is True
    assert resources.requeue is None
    assert resources.wants_gpus
    assert job.energy.interval == timedelta(milliseconds=500)
    assert job.schedule.deadline == datetime(2026, 5, 31, 16, tzinfo=UTC)
    assert job.schedule.min_saving == 0.05
    assert job.schedule.interruptible is not None
    assert job.schedule.interruptible.signal == "USR1"
    assert job.tags == {"project": "climate", "phase": "training", "run": "7"}
    assert job.sbatch == ("--wckey=END",)
    assert job.directives == ()


def test_a_job_survives_json_and_python(tmp_path: Path) -> None:
    job = load_job(write(tmp_path, FULL))
    assert JobSpec(**json.loads(json.dumps(job.to_json()))) == job
    assert JobSpec(**job.to_json()) == job
    assert JobSpec(**vars(job)) == job


def test_defaults(tmp_path: Path) -> None:
    job = load_job(write(tmp_path, "command: [python, 'a b.py']\nresources:\nenergy:\n", "matmul.yaml"))
    assert job.name == "matmul"
    assert job.command == "python 'a b.py'"
    assert job.resources == type(job.resources)()
    assert not job.resources.wants_gpus
    assert job.energy.enabled
    assert job.energy.record == timedelta(seconds=10)
    assert job.schedule.effective_policy == "asap"


@pytest.mark.parametrize(("word", "enabled"), [("off", False), ("no", False), ("false", False), ("on", True)])
def test_energy_takes_a_switch(tmp_path: Path, word: str, enabled: bool) -> None:
    assert load_job(write(tmp_path, f"command: x\nenergy: {word}\n")).energy.enabled is enabled


def test_a_slow_interval_moves_the_record_along(tmp_path: Path) -> None:
    job = load_job(write(tmp_path, "command: x\nenergy: {interval: 30s}\n"))
    assert job.energy.record == timedelta(seconds=30)


def test_the_policy_follows_from_the_other_keys() -> None:
    def policy(**schedule: object) -> str:
        return job_from_mapping({"command": "x", "schedule": schedule}).schedule.effective_policy

    assert policy(max_delay="12h") == "low-carbon"
    assert policy(queue="green") == "low-carbon"
    assert policy(budget_g=100) == "budget"
    assert policy(max_delay="12h", policy="asap") == "asap"
    assert policy(zone="FR") == "asap"


def test_a_naive_deadline_is_local_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Europe/Paris")
    time.tzset()
    try:
        job = load_job(write(tmp_path, "command: x\nschedule: {deadline: 2026-05-31 18:00}\n"))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert job.schedule.deadline == datetime(2026, 5, 31, 16, tzinfo=UTC)


def test_a_script_beside_the_file_brings_its_directives(tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text(
        "#!/bin/bash\n#SBATCH -t 10 --mem-per-cpu=1G -p batch -J inner\n#SBATCH --wckey=END\necho $1\n"
    )
    job = load_job(write(tmp_path, "script: train.sh\nargs: [1, a b]\nresources: {mem: 4G, partition: green}\n"))
    assert job.script == str(tmp_path / "train.sh")
    assert job.args == ("1", "a b")
    assert job.name == "inner"
    assert len(job.directives) == 2
    assert job.resources.partition == "green"
    assert job.resources.time == timedelta(minutes=10)
    assert (job.resources.mem, job.resources.mem_per_cpu) == ("4G", None)


def test_a_program_that_is_not_a_script_has_no_directives(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_bytes(b"\x7fELF\0\0" * 1_000_000)
    job = load_job(write(tmp_path, "script: a.out\n"))
    assert job.directives == ()
    assert job.name == "job"


def test_all_mistakes_are_reported_at_once_in_order(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        """\
name: [a]
command: x
script: nowhere.sh
env: {A B: 1, OK: 2, C-D: 3}
partition: batch
resources:
  tmie: 10
  walltime: 10
  time: soon
  mem: 4G
  mem_per_cpu: 2G
  nodes: 0
  cpus-per-task: 2
  name: x
energy: {interval: 2m, recrod: 1s}
schedule:
  max_delay: 12
  deadline: 2026-05-31
sbatch: [--wckey=END, -J x, --parti=y]
tags: climate
tags: {a: [1]}
container: {nv: maybe}
directives: []
zzz: 1
""",
    )
    assert told == [
        "job.yaml:21: tags: duplicate key, first on line 20 (keep one of the two)",
        "job.yaml:1: name: must be text, not a list; put it in quotes if it is meant as text",
        "job.yaml:3: script: nowhere.sh: there is no such file",
        "job.yaml:3: script: can't be given along with `command` (keep one of the two)",
        "job.yaml:4: env.'A B': 'A B' is not a valid name of an environment variable; use letters, digits and `_`",
        "job.yaml:4: env.C-D: 'C-D' is not a valid name of an environment variable; use letters, digits and `_`",
        "job.yaml:5: partition: there is no key 'partition' at the top level (`partition` belongs under `resources`)",
        "job.yaml:7: resources.tmie: there is no key 'tmie' in `resources` (did you mean `time`?)",
        "job.yaml:8: resources.walltime: there is no key 'walltime' in `resources` (the key is `resources.time`)",
        "job.yaml:9: resources.time: 'soon' is not a time limit in Slurm's form; "
        "write 30 (minutes), 1:30:00 or 2-12:00:00",
        "job.yaml:11: resources.mem_per_cpu: can't be given along with `mem` "
        "(keep one: `mem` is memory per node, `mem_per_cpu` memory per CPU)",
        "job.yaml:12: resources.nodes: '0' is not a number of nodes; write 2, or 2-4 for 2 to 4",
        "job.yaml:13: resources.cpus-per-task: there is no key 'cpus-per-task' in `resources` (write `cpus_per_task`)",
        "job.yaml:14: resources.name: there is no key 'name' in `resources` (`name` belongs at the top level)",
        "job.yaml:15: energy.recrod: there is no key 'recrod' in `energy` (did you mean `record`?)",
        "job.yaml:15: energy.interval: 2m is not between 0.1s and 1m (write for example 1s)",
        "job.yaml:17: schedule.max_delay: '12' has no unit; write a number with its unit: 90s, 15m, 2h, 1d or 1h30m",
        "job.yaml:18: schedule.deadline: '2026-05-31' is a date without a time; "
        "write 2026-05-31T18:00, 2026-05-31T18:00+02:00, 20:00 or now+8hours",
        "job.yaml:19: sbatch, entry 2: '-J x' contains a blank; write it as one word, such as --job-name=x",
        "job.yaml:19: sbatch, entry 3: --parti can't be set here (--partition): use the key `resources.partition`",
        "job.yaml:20: tags: must be a mapping of names to texts, such as {project: climate}",
        "job.yaml:22: container.image: is missing (for example images/torch.sif)",
        "job.yaml:22: container.nv: 'maybe' is neither true nor false; write true or false",
        "job.yaml:23: directives: is not a key of a job file (use `resources`)",
        "job.yaml:24: zzz: there is no key 'zzz' at the top level (the keys here are name, command, script, args, "
        "workdir, env, matrix, modules, conda, venv, setup, teardown, container, template, output, error, export, "
        "comment, mail, resources, energy, schedule, tags, sbatch)",
    ]


def test_the_known_keys_are_named_once_for_all_unknown_ones(tmp_path: Path) -> None:
    keys = [f"zz{number}zz" for number in range(300)]
    path = tmp_path / "job.yaml"
    path.write_text("command: a\n" + "".join(f"{key}: 1\n" for key in keys) + "energy: {qq: 1, ww: 2}\n")
    with pytest.raises(InputError) as refused:
        load_job(path)
    text = str(refused.value)
    assert len(refused.value.problems) == 302
    assert all(f"{key}: there is no key" in text for key in (*keys, "qq", "ww"))
    assert text.count("the keys here are name, command") == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x\n", "job.yaml: command: is missing (write what to run: `command: python train.py`)"),
        ("command: ' '\n", "job.yaml:1: command: is empty"),
        ("command: [cd /tmp, ls]\n", "entry 1: 'cd /tmp' is not a program; a list is the words of one command (write"),
        ("command: [a, {c: d}]\n", "job.yaml:1: command, entry 2: must be text, not a mapping"),
        ("command: x\nargs: [1]\n", "job.yaml:2: args: needs a `script`"),
        ("command: x\nargs: a b\n", "job.yaml:2: args: must be a list"),
        ("command: x\nresources: 4\n", "(write for example `resources: {nodes: 2, time: 1:30:00}`)"),
        ("command: x\nresources: []\n", "job.yaml:2: resources: must be a mapping of keys"),
        ("command: x\nresources: {time: 0}\n", "must be above 0; leave it out"),
        ("command: x\nresources: {time: UNLIMITED}\n", "leave `time` out"),
        ("command: x\nresources: {gpus: two}\n", "'two' is not a number of GPUs; write 2 or a100:2"),
        ("command: x\nresources: {array: 5-1}\n", "the range 5-1 in '5-1' is empty"),
        ("command: x\nresources: {ntasks: 1.5}\n", "'1.5' is not a whole number; write for example 4"),
        ("command: x\nresources: {exclusive: user}\n", "'user' is neither true nor false"),
        ('command: x\nresources: {account: "a\\nb"}\n', "contains the control character '\\n'"),
        ('command: "a\\0b"\n', "command: contains a NUL character"),
        ('command: x\nenv: {A: "a\\0b"}\n', "env.A: contains a NUL character"),
        ('command: x\nenv: {A: "\\ud800"}\n', "A"),
        ("command: x\nenergy: {interval: 10ms}\n", "0.01s is not between 0.1s and 1m"),
        ("command: x\nenergy: {interval: 20s, record: 10s}\n", "10s is shorter than the interval of 20s"),
        ("command: x\nenergy: {record: 10m}\n", "10m is more than 5m"),
        ("command: x\nenergy: never\n", "'never' is not valid; write off, on, or a mapping"),
        ("command: x\nschedule: {policy: low-carbon}\n", "needs a limit on how long the job may wait"),
        ("command: x\nschedule: {policy: green}\n", "'green' is unknown; write asap, low-carbon or budget"),
        ("command: x\nschedule: {policy: budget}\n", "budget needs `budget_g`"),
        ("command: x\nschedule: {policy: asap, budget_g: 3}\n", "has no effect with `policy: asap`"),
        ("command: x\nschedule: {budget_g: -3}\n", "'-3' is not a number above 0"),
        ("command: x\nschedule: {min_saving: 5}\n", "'5' is not between 0 and 1; write 0.05 or 5 %"),
        (
            "command: x\nschedule: {max_delay: 1h, deadline: 2026-05-31T18:00}\n",
            "keep one: `max_delay` limits the start, `deadline` the end",
        ),
        (
            "command: x\nschedule: {earliest: 2026-06-01T00:00Z, deadline: 2026-05-31T18:00Z}\n",
            "schedule.earliest: is not before `deadline`",
        ),
        ("command: x\nschedule: {interruptible: {signal: KILL}}\n", "not a signal that a program can catch"),
        (
            "command: x\nschedule: {max_delay: 1d, interruptible: yes}\nresources: {requeue: no}\n",
            "job.yaml:3: resources.requeue: can't be false along with `schedule.interruptible`",
        ),
        ("command: x\ntemplate: ../../etc/passwd\n", "is not a valid name of a template"),
        ("command: x\nsbatch: --wckey=END\n", "must be a list of options"),
        ("command: x\nsched: {}\n", "job.yaml:2: sched: there is no key 'sched'"),
        ("", "job.yaml: is empty"),
        ("# only a comment\n", "job.yaml: is empty"),
        ("- a\n", "job.yaml: must be a mapping of keys"),
        ("hello\n", "job.yaml: must be a mapping of keys"),
    ],
)
def test_mistakes_are_reported_in_a_clear_sentence(tmp_path: Path, text: str, told: str) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert told in found[0]


def test_a_list_is_the_words_of_a_command_and_the_lines_of_setup(tmp_path: Path) -> None:
    text = "command: [./my program, a b]\nsetup: [cd /tmp, export A=1]\nteardown: [ls -l]\n"
    job = load_job(write(tmp_path, text))
    assert (job.command, job.setup, job.teardown) == ("'./my program' 'a b'", "cd /tmp\nexport A=1", "ls -l")


def test_a_comparison_is_not_made_with_a_key_that_is_wrong_itself(tmp_path: Path) -> None:
    assert len(problems(tmp_path, "command: [[]]\n")) == 1
    assert len(problems(tmp_path, "command: x\nschedule: {policy: low-carbon, max_delay: soon}\n")) == 1


def test_missing_files(tmp_path: Path) -> None:
    def told(path: Path) -> str:
        with pytest.raises(InputError) as caught:
            load_job(path)
        return str(caught.value).replace(f"{tmp_path}/", "")

    assert told(tmp_path / "nowhere.yaml") == "nowhere.yaml: there is no such file"
    assert told(tmp_path).endswith("not a regular file")
    os.mkfifo(tmp_path / "pipe.yaml")
    assert told(tmp_path / "pipe.yaml") == "pipe.yaml: not a regular file"
    (tmp_path / "latin.yaml").write_bytes(b"command: x\nname: caf\xe9\n")
    assert told(tmp_path / "latin.yaml") == "latin.yaml:2: is not UTF-8 text (save the file as UTF-8)"
    (tmp_path / "big.yaml").write_text("# " + "x" * 1_000_000)
    assert "big.yaml: is larger than 1 MB" in told(tmp_path / "big.yaml")
    (tmp_path / "big.sh").write_text("#!/bin/bash\n#" + "x" * (4 * 1024 * 1024 - 13))
    load_job(tmp_path / "big.sh")
    (tmp_path / "big.sh").write_text("#!/bin/bash\n#" + "x" * (4 * 1024 * 1024 - 12))
    assert "big.sh: is larger than 4 MB, which Slurm refuses" in told(tmp_path / "big.sh")
    assert told(tmp_path / "a\0b").endswith("not a valid file name")
    assert "\x1b" not in told(tmp_path / "a\x1b[31m.yaml")


@pytest.mark.parametrize(("key", "most"), [("name", 1024), ("command", 131_072)])
def test_texts_have_a_limit(tmp_path: Path, key: str, most: int) -> None:
    path = tmp_path / "job.yaml"
    keys = {"name": "x", "command": "true"}
    path.write_text(json.dumps(keys | {key: "x" * most}))
    assert getattr(load_job(path), key) == "x" * most
    path.write_text(json.dumps(keys | {key: "x" * (most + 1)}))
    with pytest.raises(InputError, match=rf"job.yaml:1: {key}: "):
        load_job(path)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xef\xbb\xbfcommand: x\n")
    assert load_job(path).command == "x"


HOSTILE = ["a'; touch /tmp/pwned #", '$(touch /tmp/pwned) `id` "', "日本語 ü", "x" * 300, "-rf", "%j", "a b", "#"]


@pytest.mark.parametrize("text", HOSTILE)
def test_odd_texts_are_carried_as_they_are(text: str) -> None:
    fields = {"name": text, "command": text, "workdir": text, "output": text, "modules": [text]}
    job = job_from_mapping(
        {
            **fields,
            "env": {"A": text},
            "tags": {text: text},
            "container": text,
            "resources": {"account": text, "partition": text, "constraint": text, "nodelist": text},
        }
    )
    assert (job.name, job.command, job.workdir, job.output, job.modules) == (text, text, text, text, (text,))
    assert (job.env, job.tags) == ({"A": text}, {text: text})
    assert job.container is not None
    assert job.container.image == text
    assert (job.resources.account, job.resources.partition) == (text, text)
    assert JobSpec(**job.to_json()) == job


def test_line_breaks_are_carried_where_they_can_be() -> None:
    text = "a\n#SBATCH --wrap=x\n"
    job = job_from_mapping({"command": text, "workdir": text, "env": {"A": text}, "tags": {"note": text}})
    assert (job.command, job.workdir, job.env["A"], job.tags["note"]) == (text, text, text, text)
    for key in ("name", "output", "error"):
        with pytest.raises(InputError, match="control character"):
            job_from_mapping({"command": "x", key: text})


def test_a_job_from_values_is_named_by_what_it_runs() -> None:
    for command, name in (
        ("OMP=1 /usr/bin/python3 -u src/x.py --epochs 3.5", "x.py"),
        ("python -m pkg.train --lr 0.1", "pkg.train"),
        ("python3.12 -c 'print(0.5)'", "python3.12"),
        ("bash", "bash"),
        ("bash -lc 'python x.py --lr 0.1'", "bash"),
        ("bash -e steps/run.sh", "run.sh"),
        ("python -Ic 'print(0.5)'", "python"),
        ("perl -ne 'print 0.5'", "perl"),
        ("octave --eval 'x = 0.5'", "octave"),
        ("python -X importtime=1.5 a-b/train_2.py", "train_2.py"),
        ("julia -p 1.5 sim.v2.jl", "sim.v2.jl"),
        ('python "$SCRIPT.py"', "python"),
        ("python a/..", "python"),
        ("Rscript fit.R | tee out.txt", "fit.R"),
        ("./train.sh x.py", "train.sh"),
        ("A=1", "job"),
    ):
        assert job_from_mapping({"command": command}).name == name, command
    assert job_from_mapping({"command": ["python", "train.py"]}).name == "train.py"
    assert job_from_mapping({"command": "'unclosed"}).name == "job"
    assert job_from_mapping({"command": ["srun", "x"]}).name == "srun"
    assert job_from_mapping({"script": "/home/a/train.sh"}).name == "train.sh"


def test_a_problem_without_a_file_names_the_key_alone() -> None:
    with pytest.raises(InputError) as caught:
        job_from_mapping({"command": "x", "name": True}, "command line")
    assert [problem.where for problem in caught.value.problems] == ["command line: name"]


def test_loading_a_job_brings_in_nothing_heavy(tmp_path: Path) -> None:
    path = write(tmp_path, FULL)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from hpcfrugal.job import load_job\n"
        f"load_job(Path({str(path)!r}))\n"
        "heavy = {'pandas', 'numpy', 'rich', 'jinja2', 'sqlite3', 'submitit', 'click'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("key", "what"), [("zone", "zone"), ("queue", "queue")])
@pytest.mark.parametrize("name", ["../a", "a/b", "", ".hidden", "a b", "x" * 65, "a'; rm -rf ~ #", "caf\u00e9"])
def test_names_of_zones_and_queues_are_those_of_the_settings(tmp_path: Path, key: str, what: str, name: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(f"command: x\nschedule:\n  {key}: {json.dumps(name)}\n")
    with pytest.raises(InputError) as caught:
        load_job(path)
    (problem,) = caught.value.problems
    assert problem.where == f"{path}:3: schedule.{key}"
    assert f"is not a valid name of a {what}" in problem.what


@pytest.mark.parametrize("name", ["FR", "GB-13", "US_CAL.CISO", "NO", "1", "x" * 64])
def test_zones_as_they_are_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(f"command: x\nschedule: {{zone: {name}}}\n")
    assert load_job(path).schedule.zone == name


def test_later_problems_get_the_line_of_their_key(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("command: x\nresources:\n  nodes: 2\n")
    told = [
        Problem(f"{path}: resources.nodes", "too many", "take one"),
        Problem(f"{path}: schedule.deadline", "not there"),
        Problem(f"{path}:1: command", "has its line"),
        Problem("--queue", "no key"),
    ]

    def later() -> list[str]:
        with pytest.raises(InputError) as caught, naming_lines(path):
            raise InputError(told, hint="a hint")
        assert caught.value.hint == "a hint"
        return [problem.where for problem in caught.value.problems]

    wheres = [problem.where for problem in told]
    assert later() == [f"{path}:3: resources.nodes", *wheres[1:]]
    path.write_text("#!/bin/bash\n#SBATCH --nodes=2\n")
    assert later() == wheres
    path.unlink()
    assert later() == wheres


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("queue: batch", "`resources.partition`"),
        ("resources: {queue: batch}", "`resources.partition`"),
        ("resources: {signal: USR1}", "write `sbatch: [--signal=...]`"),
        ("signal: USR1", "write `sbatch: [--signal=...]`"),
        ("resources: {licenses: a}", "write `sbatch: [--licenses=...]`"),
        ("resources: {contiguous: yes}", "write `sbatch: [--contiguous]`"),
        ("resources: {cpu_freq: low}", "write `sbatch: [--cpu-freq=...]`"),
        ("wckey: END", "write `sbatch: [--wckey=...]`"),
        ("mail-type: END", "the key is `mail.type`"),
        ("resources: {chdir: /tmp}", "the key is `workdir`"),
        ("resources: {begin: now}", "the key is `schedule.earliest`"),
        ("begin: now", "the key is `schedule.earliest`"),
        ("mem_per_gpu: 4G", "`mem_per_gpu` belongs under `resources`"),
        ("resources: {conda: torch}", "`conda` belongs at the top level"),
        ("uv: yes", "the key is `venv`"),
        ("wait: yes", "use `hpcfrugal submit --wait`"),
    ],
)
def test_the_hint_for_an_option_of_sbatch(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(f"command: 'true'\n{text}\n")
    with pytest.raises(InputError) as caught:
        load_job(path)
    assert hint in str(caught.value)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("train.py --epochs 3 > log.txt 2>&1", None),
        ("train.py \\\n  --epochs 3\n", None),
        ("--max-restarts 3 train.py", None),
        ("-m package.train --text 'a; b\nc'", None),
        ("cd src\npython train.py --epochs 3 | tee log", None),
        ("./train.py\n./evaluate.py", None),
        ("export A=1\ntrain.py --epochs 3", "train.py"),
        ("cd src; train.py", "train.py"),
        ("train.py && evaluate.py", "train.py"),
    ],
)
def test_python_files_among_the_commands_of_torchrun(command: str, file: str | None) -> None:
    data = {"template": "torchrun", "command": command, "setup": "cd src\nexport A=1"}
    if file is not None:
        with pytest.raises(InputError, match=rf"{file} is no command(?s:.*)`python {file}`"):
            job_from_mapping(data)
    else:
        job_from_mapping(data)
    job_from_mapping({**data, "template": "mpi"})


def test_environments_are_checked_where_they_can_be_seen(tmp_path: Path) -> None:
    (tmp_path / "v" / "bin").mkdir(parents=True)
    (tmp_path / "v" / "bin" / "activate").write_text("")
    (tmp_path / "c" / "conda-meta").mkdir(parents=True)
    path = tmp_path / "job.yaml"

    def load(text: str) -> JobSpec:
        path.write_text(f"command: 'true'\n{text}\n")
        return load_job(path)

    assert load("venv: v").venv == str(tmp_path / "v")
    assert load("conda: ./c").conda == str(tmp_path / "c")
    assert load("conda: torch").conda == "torch"
    assert load("venv: /only/on/the/nodes").venv == "/only/on/the/nodes"
    assert load("venv: later\nresources: {dependency: afterok:1}").venv == str(tmp_path / "later")
    for text, told in [
        ("venv: missing", "job.yaml:2: venv: there is no "),
        ("conda: ./v", "job.yaml:2: conda: "),
        ("venv: v\nconda: torch", "can't be given along with"),
        ("venv: v\ncontainer: a.sif", "activate it in the command"),
    ]:
        with pytest.raises(InputError, match=re.escape(told)):
            load(text)


@pytest.mark.parametrize(
    ("mail", "flags"),
    [
        ("me@example.org", ["--mail-type=END,FAIL", "--mail-user=me@example.org"]),
        (["END", "FAIL"], ["--mail-type=END,FAIL"]),
        ("ALL", ["--mail-type=ALL"]),
        ({"type": "END", "user": "alice"}, ["--mail-type=END", "--mail-user=alice"]),
        (None, []),
    ],
)
def test_mail(mail: object, flags: list[str]) -> None:
    job = job_from_mapping({"command": "true", "name": "x", "mail": mail})
    assert sbatch_flags(job) == ["--job-name=x", *flags]


def test_small_keys_of_sbatch() -> None:
    data = {
        "command": "true",
        "name": "x",
        "comment": "run 3",
        "export": "none",
        "resources": {"hold": "yes", "time": "24h"},
    }
    expected = ["--job-name=x", "--export=NONE", "--comment=run 3", "--time=1-00:00:00", "--hold"]
    assert sbatch_flags(job_from_mapping(data)) == expected
    with pytest.raises(InputError, match="the start of a held job can't be planned"):
        job_from_mapping({"command": "true", "resources": {"hold": True}, "schedule": {"max_delay": "1h"}})
    with pytest.raises(InputError, match=r"write all or none"):
        job_from_mapping({"command": "true", "export": "PATH"})


def test_a_program_is_not_accepted_as_a_job_file(tmp_path: Path) -> None:
    path = tmp_path / "it's.py"
    path.write_text("import torch\n")
    with pytest.raises(InputError) as caught:
        load_job(path)
    (problem,) = caught.value.problems
    assert problem.what == "is a program, not a job file"
    command = f"python {shlex.quote(str(path))}"
    assert problem.hint == (
        f"measure it here with `hpcfrugal run -- {command}`, or write a job file with `command: {command}`"
    )
    path.write_text("#!/usr/bin/env python\n")  # sbatch takes it
    assert load_job(path).script == str(path)


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:00-05:00", "1969-12-31T12:00:00", "2200-01-02T00:00:00+14:00"],
)
@pytest.mark.parametrize("key", ["earliest", "deadline"])
def test_a_time_that_no_job_can_have_is_out_of_range(key: str, text: str) -> None:
    with pytest.raises(InputError, match=f"schedule.{key}: '{re.escape(text)}' is out of range; write 2026-"):
        job_from_mapping({"command": "true", "schedule": {key: text}})
