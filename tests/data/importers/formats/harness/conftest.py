import json

import pytest


@pytest.fixture
def sample_file(tmp_path):
    """Write rows, or lines as they are, where a harness would: `<out>/<model>/<name>`."""

    def write(rows, *, name, vllm="org__North"):
        path = tmp_path / "out" / vllm / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8-sig")
        return path

    return write
