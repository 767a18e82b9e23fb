"""scripts/bench/site: that it finds its jobs and prints its figures, with a run of a second."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.alone]

BENCH = Path(__file__).resolve().parents[2] / "scripts/bench/site"


def test_cost_of_the_node_agent() -> None:
    done = subprocess.run(
        [sys.executable, BENCH, "--seconds", "1", "--jobs", "2", "5", "--json"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["jobs"] for row in rows] == [2, 5]
    for row in rows:
        assert row["cpu_percent"] > 0
        assert row["peak_rss_kib"] > row["pss_kib"] > 0
    assert rows[0]["record_bytes"] < rows[1]["record_bytes"]
