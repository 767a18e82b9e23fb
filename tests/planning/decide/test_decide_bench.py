"""scripts/bench/decide on a small scale: savings between nothing and the best in hindsight, and honest promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

DECIDE = Path(__file__).resolve().parents[3] / "scripts" / "bench" / "decide"


@pytest.mark.slow
def test_decisions_save_nearly_all_and_get_what_they_promise() -> None:
    command = [sys.executable, str(DECIDE), "--days", "40", "--every", "9", "--hours", "4", "24", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["min_saving"] == 0.04
    assert [(cell["grid"], cell["hours"]) for cell in found["cells"]] == [
        (grid, hours) for grid in ("GB", "DE", "FR") for hours in (4, 24)
    ]
    for cell in found["cells"]:
        rows = cell["rows"]
        assert 0 < rows["default"]["saving"] <= rows["oracle"]["saving"]
        assert rows["default"]["of_word"] > 0.85
        assert rows["default"]["worse"] < min(0.1, rows["at its word"]["worse"] + 0.01)
        assert abs(rows["default"]["promised"] - rows["default"]["saving"]) < 0.05
        assert rows["default"]["saving"] == cell["curve"]["4%"]["saving"]
        waiting = [row["waiting"] for row in cell["curve"].values()]
        assert waiting == sorted(waiting, reverse=True)
