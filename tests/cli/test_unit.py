"""The systemd unit of the queue's service: it starts this program, and systemd understands it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm
from sandbox import Sandbox

from hpcfrugal.cli.unit import agent_unit, systemd_unit

_MOST_EXPOSED = 30  # tenths, of 100


def settings(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_starts_this_program(box: Sandbox, tmp_path: Path) -> None:
    slurm = FakeSlurm(tmp_path / "slurm")
    text = box.ok(
        "queue", "run", "--unit", env={"PATH": f"{slurm.bin}:{box.env['PATH']}", "SLURM_CONF": "/etc/a b/slurm.conf"}
    )
    found = settings(text)
    (command,) = found["ExecStart"]
    program = command.removesuffix(" queue run --every 5m").split(" ")
    done = subprocess.run([*program, "--version"], capture_output=True, text=True, env=box.env)
    assert (done.returncode, done.stdout.split(",")[0]) == (0, "hpcfrugal"), done
    assert f"PATH={slurm.bin}:" in found["Environment"][0]
    assert '"SLURM_CONF=/etc/a b/slurm.conf"' in found["Environment"]


def test_a_script_is_started_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "100 % of $HOME"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    (command,) = settings(systemd_unit({}))["ExecStart"]
    assert command == f'"{tmp_path}/100 %% of $$HOME" queue run --every 5m'


@pytest.mark.parametrize(("home", "word"), [("/home", "read-only"), ("/srv", "yes")])
def test_a_program_in_a_home_can_be_read_there(monkeypatch: pytest.MonkeyPatch, home: str, word: str) -> None:
    monkeypatch.setattr(sys, "argv", [f"{home}/alice/bin/hpcfrugal"])
    monkeypatch.setattr(sys, "executable", f"{home}/alice/bin/python")
    monkeypatch.setattr(sys, "prefix", f"{home}/alice")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    assert settings(systemd_unit({}))["ProtectHome"] == [word]


def _documented() -> str:
    """The unit of `site power` in the documentation, for this program."""
    text = (Path(__file__).parents[2] / "docs/meters.md").read_text()
    return text.partition("```ini\n")[2].partition("```")[0].replace("/usr/local/bin/hpcfrugal", sys.executable)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("which", ["queue", "power", "agent"])
def test_systemd_takes_the_unit_for_a_guarded_one(tmp_path: Path, which: str) -> None:
    path = tmp_path / "hpcfrugal-test.service"
    made = {
        "queue": systemd_unit,
        "power": _documented,
        "agent": lambda: agent_unit(["--spool", "/srv/s"], Path("/srv/s")),
    }
    path.write_text(made[which]().replace("%i", "dcmi"))
    environ = {**os.environ, "LC_ALL": "C"}
    checked = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, env=environ)
    assert path.name not in checked.stderr, checked.stderr
    limit = f"--threshold={_MOST_EXPOSED}"
    argv = ["systemd-analyze", "security", "--offline=true", limit, "--no-pager", path]
    scored = subprocess.run(argv, capture_output=True, text=True, env=environ)
    assert scored.returncode == 0, scored.stdout[-600:]
