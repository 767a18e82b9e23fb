"""Existing batch scripts: sbatch's own rules for their directives."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from hpcfrugal.core.errors import InputError
from hpcfrugal.job import load_job
from hpcfrugal.job.backend import Backend
from hpcfrugal.job.batch_script import component_flags, components, directive_flags, read_directives, split_words
from hpcfrugal.submission.script import refuse_other_cluster

SCRIPT = """#!/bin/bash
#SBATCH --job-name="my job"   # a comment
#SBATCH -N 2-4 -n 16
# a comment
   # another

#SBATCH --time=1-12 --mem 4000
#SBATCH --wckey=END --some-plugin=x
#SBATCH --exclusive
#SBATCH --array=0-7%2
  #SBATCH --account=indented-is-a-comment
#SBATCH --qos=\\#odd
##SBATCH --reservation=off
#SBATCH --no-requeue --gres=gpu:2
srun ./a.out
#SBATCH --partition=too-late
"""


def test_a_script_is_kept_and_understood(tmp_path: Path) -> None:
    path = tmp_path / "train.sh"
    path.write_text(SCRIPT)
    job = load_job(path)
    assert job.script == str(path)
    assert job.command is None
    assert job.name == "my job"
    assert job.directives == tuple(line for line in SCRIPT.splitlines()[:-2] if line.startswith("#SBATCH"))
    resources = job.resources
    assert resources.nodes == "2-4"
    assert resources.min_nodes == 2
    assert resources.ntasks == 16
    assert resources.time == timedelta(days=1, hours=12)
    assert resources.mem == "4000M"
    assert resources.exclusive is True
    assert resources.array == "0-7%2"
    assert resources.qos == "#odd"
    assert resources.requeue is False
    assert resources.wants_gpus
    assert resources.account is None
    assert resources.reservation is None
    assert resources.partition is None


def test_without_a_name_the_job_is_named_as_sbatch_would(tmp_path: Path) -> None:
    path = tmp_path / "run me.sbatch"
    path.write_text("#!/bin/sh\nhostname\n")
    assert load_job(path).name == "run me.sbatch"


def test_any_file_that_begins_with_a_shebang_is_a_script(tmp_path: Path) -> None:
    path = tmp_path / "job"
    path.write_text("#!/usr/bin/env python3\n#SBATCH -c 4\nprint()\n")
    assert load_job(path).resources.cpus_per_task == 4


def test_the_last_of_two_directives_counts_and_unknown_forms_are_left_to_slurm(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    path.write_text(
        "#!/bin/sh\n#SBATCH -t 10\n#SBATCH -t UNLIMITED\n#SBATCH --mem=1G\n#SBATCH --mem-per-cpu=2G\n"
        "#SBATCH --exclusive=user\n#SBATCH --begin=now+1hour\n#SBATCH -N 2\n#SBATCH -N 3\n"
    )
    job = load_job(path)
    assert job.resources.time is None
    assert (job.resources.mem, job.resources.mem_per_cpu) == (None, "2G")
    assert job.resources.exclusive is False
    assert job.schedule.earliest is not None
    assert abs(job.schedule.earliest - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
    assert job.resources.nodes == 3
    assert len(job.directives) == 8


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("echo\n", "does not start with `#!`"),
        ("#!/bin/sh\r\necho\r\n", "a.sh:1: has DOS line endings"),
        ("#!/bin/sh\necho \0\n", "NUL"),
        ('#!/bin/sh\n#SBATCH -J "open\n', 'a.sh:2: the quote " is not closed'),
        ("#!/bin/sh\n#SBATCH --wait\n", "a.sh:2: --wait can't be used here"),
        ("#!/bin/sh\n#SBATCH -n1\n#SBATCH hetjob\n#SBATCH -n 2 tasks\n", "a.sh:4: 'tasks' is not an option"),
        ("#!/bin/sh\n#SBATCH --account=[budget code]\n", "a.sh:2: 'code]' is not an option"),
        ("#!/bin/sh\n#SBATCH -n 4 tasks\n", "a.sh:2: 'tasks' is not an option"),
        ("#!/bin/sh\n#SBATCH --time=24h\n", "a.sh:2: '24h' is not a value of --time"),
        ("#!/bin/sh\n#SBATCH -t <time>\n", "a.sh:2: '<time>' is not a value of --time"),
        ("#!/bin/sh\n#SBATCH --time=1:2:3:4\n", "is not a value of --time"),
        ("#!/bin/sh\n#SBATCH --nodes=[n]\n", "is not a value of --nodes"),
        ("#!/bin/sh\n#SBATCH --mem=<mem>\n", "is not a value of --mem"),
        ("#!/bin/sh\n#SBATCH -A <account>\n", "a.sh:2: '<account>' is not a value of --account"),
        ("#!/bin/sh\n#SBATCH -p $PARTITION\n", "a.sh:2: '$PARTITION' is not a value of --partition"),
        ("#!/bin/sh\n#SBATCH --qos={{qos}}\n", "is not a value of --qos"),
        ("#!/bin/sh\n#SBATCH --begin=soon\n", "is not a value of --begin"),
        ("#!/bin/sh\n#SBATCH --deadline=xx\n", "is not a value of --deadline"),
        ("#!/bin/sh\n#SBATCH --comment\n#SBATCH -n 2\n", "a.sh:2: --comment needs a value"),
        ("#!/bin/sh\n#SBATCH -J\n#SBATCH -n 2\n", "a.sh:2: --job-name needs a value"),
        ("#!/bin/sh\n#PBS -l walltime=1:00:00\n", "a.sh:2: #PBS lines are not read"),
        ("#!/bin/sh\n#SBATCH -n1\n#BSUB -n 4\n", "a.sh:3: #BSUB lines are not read"),
        ("#!/bin/sh\n#SLURM --mem=4G\n", "a.sh:2: #SLURM lines are not read"),
    ],
)
def test_scripts_that_could_not_run_or_be_followed(tmp_path: Path, body: str, told: str) -> None:
    path = tmp_path / "a.sh"
    path.write_bytes(body.encode())
    with pytest.raises(InputError) as caught:
        load_job(path)
    assert told in str(caught.value)


def test_a_directive_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    path.write_bytes(b"#!/bin/sh\n# caf\xe9 is fine here\n#SBATCH -J caf\xe9\n")
    with pytest.raises(InputError, match=r"a\.sh:3: contains bytes that are not UTF-8"):
        load_job(path)


def test_values_in_forms_of_slurm_alone_pass(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    options = [
        "-t INFINITE",
        "-t unlimited",
        "-t -1",
        "-t 0",
        "--time-min=1-0",
        "--begin=teatime",
        "--plugin x",
        "-N 1,3-5",
    ]
    path.write_text("".join(["#!/bin/sh\n", *(f"#SBATCH {option}\n" for option in options)]))
    assert len(load_job(path).directives) == len(options)


class _Cluster:
    name = "slurm_cli"

    def cluster(self) -> str:
        return "c1"


def test_a_script_may_name_this_cluster(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    backend = cast(Backend, _Cluster())
    path.write_text("#!/bin/sh\n#SBATCH -M c1\n")
    refuse_other_cluster(load_job(path), path, backend)
    for other in ("c2", "c1,c2", "all"):
        path.write_text(f"#!/bin/sh\n#SBATCH --clusters={other}\n")
        with pytest.raises(InputError, match=f"{other} is not the cluster of this login node, c1"):
            refuse_other_cluster(load_job(path), path, backend)


def test_lines_for_another_system_that_the_script_says_to_ignore(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    path.write_text("#!/bin/sh\n#PBS -l walltime=1:00:00\n#SBATCH --ignore-pbs\necho\n#PBS -N late\n")
    assert load_job(path).directives == ("#SBATCH --ignore-pbs",)


def test_a_comment_behind_options_may_have_any_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    path.write_bytes(b"#!/bin/sh\n#SBATCH -J 'a b' -n 2  # caf\xe9\n")
    job = load_job(path)
    assert (job.name, job.resources.ntasks) == ("a b", 2)
    assert job.directives == ('#SBATCH -J "a b" -n 2',)


@pytest.mark.parametrize(
    ("script", "keys", "left"),
    [
        # What the job file says replaces the script's, and never adds to it or collides with it.
        ("--gres=gpu:2", {"resources": {"gpus_per_node": 1}}, []),
        ("--gres=gpu:a100:2,nvme:1 -n 2", {"resources": {"gpus": 1}}, ["#SBATCH --gres=nvme:1 --ntasks=2"]),
        ("--gres=nvme:1", {"resources": {"gpus": 1}}, ["#SBATCH --gres=nvme:1"]),
        ("--gpus=2", {"resources": {"gres": "gpu:1"}}, []),
        ("--gpus=2", {"resources": {"gres": "nvme:1"}}, ["#SBATCH --gpus=2"]),
        ("--tres-per-task=gres/gpu:2", {"resources": {"gpus_per_node": 1}}, []),
        ("--tres-per-task=cpu=4,gres/gpu:2", {"resources": {"gres": "gpu:1"}}, ["#SBATCH --tres-per-task=cpu=4"]),
        (
            "--tres-per-task=cpu:4,gres/nvme:2",
            {"resources": {"cpus_per_task": 2}},
            ["#SBATCH --tres-per-task=gres/nvme:2"],
        ),
        ("--gpus-per-node=1", {"sbatch": ["--tres-per-task=gres/gpu:2"]}, []),
        ("--gpus-per-socket=2", {"resources": {"gpus_per_task": 1}}, []),
        ("--mem-per-cpu=1G", {"resources": {"mem": "2G"}}, []),
        ("--mem-per-gpu=1G", {"resources": {"mem": "2G"}}, []),
        ("--mem=1G", {"resources": {"mem_per_gpu": "2G"}}, []),
        ("--mem=1G --time=10", {"resources": {"mem_per_cpu": "2G"}}, ["#SBATCH --time=10"]),
        ("--cpus-per-gpu=2", {"resources": {"cpus_per_task": 2}}, []),
        ("-c 2", {"resources": {"cpus_per_gpu": 2}}, []),
        ("-F nodes.txt", {"resources": {"nodelist": "n1"}}, []),
        ("--exclusive", {"resources": {"exclusive": "no"}}, []),
        ("--oversubscribe", {"resources": {"exclusive": "yes"}}, []),
        ("--no-requeue", {"resources": {"requeue": "yes"}}, []),
        ("--ntasks-per-core=1", {"sbatch": ["--hint=nomultithread"]}, []),
        ("--licenses=a:1", {"sbatch": {"licenses": "b:1"}}, []),
        ("--time-min=5", {"resources": {"time": 3}}, []),
        ("-J x", {"name": "y"}, []),
        ("--mail-type=ALL --mail-user=a -n 2", {"mail": "me@example.org"}, ["#SBATCH --ntasks=2"]),
        ("--mail-type=ALL --mail-user=a", {"mail": {"type": "END"}}, ["#SBATCH --mail-user=a"]),
        ("-J 'x y' -N 1-2", {"resources": {"nodes": 3}}, ['#SBATCH "--job-name=x y"']),
        ("-p batch  # the usual one", {"resources": {"time": 3}}, ["#SBATCH -p batch  # the usual one"]),
    ],
)
def test_a_job_file_replaces_what_its_script_says(
    tmp_path: Path, script: str, keys: dict[str, object], left: list[str]
) -> None:
    (tmp_path / "a.sh").write_text(f"#!/bin/sh\n#SBATCH {script}\n")
    (tmp_path / "job.yaml").write_text(json.dumps({"script": "a.sh", **keys}))
    assert list(load_job(tmp_path / "job.yaml").directives) == left


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" -J 'a b' # c", ["-J", "a b"]),
        (" --x=\"a 'b'\"", ["--x=a 'b'"]),
        (r" a\ b", ["a b"]),
        (r" '\'x'", ["'x"]),
        (" a#b", ["a"]),
        (" ''", []),
        ("", []),
    ],
)
def test_words_of_a_directive(text: str, words: list[str]) -> None:
    assert split_words(text) == tuple(words)


@pytest.mark.parametrize("word", ["hetjob", "packjob"])
def test_the_options_of_a_heterogeneous_job_are_those_of_its_first_component(word: str) -> None:
    text = f"#!/bin/sh\n#SBATCH -N1 --mem=1G\n#SBATCH {word}\n#SBATCH -N4 --exclusive\n#PBS\n#SBATCH --ignore-pbs\n"
    found = read_directives(text, "a.sh", frozenset({"mem", "nodes"}))
    assert not found.problems
    assert found.lines == (f"#SBATCH {word}", "#SBATCH -N4 --exclusive", "#SBATCH --ignore-pbs")
    assert found.values == {}
    lines = read_directives(text, "a.sh").lines
    assert [len(some) for some in components(lines)] == [1, 3]
    assert [[flag.name for flag in flags] for flags in component_flags(lines)] == [
        ["nodes", "mem"],
        ["nodes", "exclusive", "ignore-pbs"],
    ]
    assert [flag.value for flag in directive_flags(lines)] == ["1", "1G"]
