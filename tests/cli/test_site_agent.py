"""``hpcfrugal site agent``: what it starts, what it shows, and its unit."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sandbox import Sandbox

from hpcfrugal.spool.agent_files import read_agent_header
from hpcfrugal.spool.agent_layout import agent_files


def test_once_shows_node_and_jobs(box: Sandbox) -> None:
    found = json.loads(box.run("site", "agent", "--once", "--interval", "0.2", "--json").out)
    assert found["node"] == socket.gethostname().split(".")[0]
    assert found["seconds"] >= 0.2
    assert {one["component"] for one in (*found["channels"], *found["absent"])} >= {"cpu"}
    text = box.run("site", "agent", "--once", "--interval", "0.2", "--node", "n7").out
    assert text.startswith("n7: ")
    assert "CPU times from " in text


def test_it_becomes_the_agent_and_leaves_files_of_the_day(box: Sandbox, tmp_path: Path) -> None:
    box.settings('[nodes."n[1-2]"]\nidle_power_w = {cpu = 60.5, dram = 8}\ncpus = 64\nsource = "a wattmeter"\n')
    spool = tmp_path / "site"
    argv = [sys.executable, "-m", "hpcfrugal", "site", "agent", "--spool", spool, "--node", "n1", "--no-publish"]
    with subprocess.Popen(argv, env=box.env, stderr=subprocess.PIPE, text=True) as agent:
        try:
            deadline = time.monotonic() + 30
            while not (files := list(agent_files(spool))) and time.monotonic() < deadline:
                time.sleep(0.05)
            words = Path(f"/proc/{agent.pid}/cmdline").read_text().split("\0")
            agent.send_signal(signal.SIGTERM)
            agent.wait(timeout=30)
        finally:
            agent.kill()
    assert agent.returncode == 0
    assert words[1:5] == ["-I", "-S", str(spool / "agents/n1/sidecar.pyz"), "agent"]
    assert [(node, path.parent) for node, _, path in files] == [("n1", spool / "agents/n1")]
    assert words[words.index("--slurm-cpus") + 1] == "64"
    header = read_agent_header(files[0][2], os.getuid(), "n1")
    assert header is not None
    assert [(one.component, one.power_uw, one.source) for one in header.idle_power] == [
        ("cpu", 60_500_000, "a wattmeter"),
        ("dram", 8_000_000, "a wattmeter"),
    ]


def test_the_unit_has_the_options(box: Sandbox) -> None:
    text = box.ok("site", "agent", "--spool", "/srv/a b", "--group", "operators", "--node", "n1", "--unit")
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert line.endswith(
        'site agent --spool "/srv/a b" --interval 1 --record 60 --node n1 --group operators --publish-step 10'
    )
    assert 'ReadWritePaths="/srv/a b"' in text
    assert "--no-publish" in box.ok("site", "agent", "--spool", "/srv/s", "--no-publish", "--unit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--spool: is missing (the site's spool, such as --spool /shared/hpcfrugal)"),
        (["--spool", "s", "--json"], "--json: is for --once"),
        (["--spool", "s", "--once", "--unit"], "--once: cannot be combined with --unit"),
        (["--spool", "s", "--group", "no-such-group"], "--group: there is no group 'no-such-group' on this machine"),
    ],
)
def test_wrong_options(box: Sandbox, options: list[str], message: str) -> None:
    done = box.run("site", "agent", *options)
    assert (done.code, message in done.err) == (2, True), done.err


def test_a_spool_that_cannot_be_written(box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = box.run("site", "agent", "--spool", tmp_path / "file", "--no-publish")
    assert done.code == 3
    assert f"cannot write into {tmp_path}/file" in done.err
