"""The README's commands run, its job files load, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import click
import pytest
from sandbox import Sandbox

from hpcfrugal.cli.root import root
from hpcfrugal.job import load_job

TOP = Path(__file__).resolve().parents[1]
DOCUMENTS = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
README = DOCUMENTS[0].read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def command_lines(text: str) -> list[str]:
    return [line for block in blocks(text, "sh") for line in block.splitlines() if line and not line.startswith("#")]


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


OURS = [words(line)[1:] for line in command_lines(README) if words(line)[0] == "hpcfrugal"]


def test_the_readme_speaks_of_the_main_commands() -> None:
    assert {"doctor", "init", "submit", "status", "report"} <= {argv[0] for argv in OURS}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_line_is_one_that_exists(path: Path) -> None:
    text = path.read_text()
    lines = [words(line) for line in command_lines(text)]
    # In running text a command stands in backquotes: the part up to the first placeholder is checked.
    lines += [span.split() for span in re.findall(r"`(hpcfrugal [^`]+)`", text)]
    for line in lines:
        if line[0] != "hpcfrugal" or line[1].startswith("-"):
            continue
        command: click.Command = root
        rest = line[1:]
        context = click.Context(root, info_name="hpcfrugal")
        while isinstance(command, click.Group) and rest:
            found = command.get_command(context, rest[0])
            assert found is not None, f"{path.name}: there is no command in {' '.join(line)}"
            command, rest = found, rest[1:]
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for word in rest:
            if word in {"|", ">", ">>", "&&", ";", "--"}:
                break
            if word.startswith("--"):
                assert word.partition("=")[0] in options | {"--help"}, f"{path.name}: {' '.join(line)}"


@pytest.mark.slow
def test_the_commands_run_in_their_order(box: Sandbox) -> None:
    ran = []
    for argv in OURS:
        if argv[:1] == ["watch"]:
            continue
        if argv == ["doctor"]:
            assert box.run(*argv).code in (0, 3)
        else:
            box.ok(*argv)
        if argv[0] == "init":
            # What it writes is the start of a job of hours; here it has to end.
            text = (box.work / "job.yaml").read_text()
            (box.work / "job.yaml").write_text(re.sub(r"^  python3 train.py.*$", "  echo trained", text, flags=re.M))
        if argv[0] == "submit" and argv[-1].endswith(".sh"):
            continue
        ran.append(argv[0])
    assert {"doctor", "init", "submit", "status", "report"} <= set(ran)
    assert len(list(box.spool.glob("20*/*"))) >= 1


def test_an_existing_script_is_submitted_as_the_readme_says(box: Sandbox) -> None:
    inline = [span.split()[1:] for span in re.findall(r"`(hpcfrugal submit [^`]+\.sh)`", README)]
    assert inline
    box.write("train.sh", "#!/bin/bash\n#SBATCH --job-name=kept\necho trained\n")
    for argv in inline:
        assert "#SBATCH --job-name=kept" in box.ok(argv[0], "--dry-run", *argv[1:])


def test_other_commands_are_there_and_can_be_run() -> None:
    others = [words(line) for line in command_lines(README) if words(line)[0] != "hpcfrugal"]
    assert ["./scripts/quickstart"] in others
    assert ["./scripts/test"] in others
    for argv in others:
        if argv[0].startswith("./"):
            assert os.stat(TOP / argv[0]).st_mode & stat.S_IXUSR, argv
            assert subprocess.run(["bash", "-n", TOP / argv[0]], check=False).returncode == 0
        else:
            assert argv[0] in {"pip", "git", "python3"}, argv


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_job_file_loads(path: Path, tmp_path: Path) -> None:
    found = blocks(path.read_text(), "yaml")
    assert found or path.name != "README.md"
    (tmp_path / "train.sh").write_text("#!/bin/bash\ntrue\n")
    for number, text in enumerate(found):
        job = tmp_path / f"job{number}.yaml"
        job.write_text(text)
        load_job(job)


@pytest.mark.parametrize("path", [*DOCUMENTS, TOP / "CHANGELOG.md"], ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        other = (path.parent / name).resolve() if name else path
        assert other.exists(), f"{path.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{path.name} links to {target}"


def test_examples_load() -> None:
    examples = sorted((TOP / "examples").glob("*.yaml"))
    assert examples
    for path in examples:
        load_job(path)
