"""The kills of the scoring benchmark, a handful of them: `python -m benchmarks.scoring kills`."""

import re
import subprocess
import sys
from pathlib import Path


def test_runs_that_are_killed_end_with_the_same_bytes():
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.scoring", "kills", "--kills", "4", "--seed", "1"],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    ).stdout
    assert re.search(r"C12 +[4-9] kills .* met\); 0 of \d finished runs differ", said), said
