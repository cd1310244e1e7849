"""VLSBench, SIUO and DeepSafe: whatever lies in a row, and whatever a file looks like."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import ImportOptions
from nsgauge.data.importers.registry import FORMATS
from nsgauge.errors import DataError

NAMES = ("deepsafe", "siuo", "vlsbench")
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 4),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["q", "imgs/1.png", "[Safety Judgement:] True", "[CONTENT_FILTER]", "NaN"]),
    st.lists(st.one_of(st.none(), st.integers(-1, 2), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.sampled_from(["label", "safety", "image", "safety_reason"]), st.integers(1)),
)
KEYS = {
    "vlsbench": ["question", "pred_answer", "image_path", "safe_label", "label_str", "id"],
    "siuo": ["question_id", "question", "image", "responses", "evaluation", "safety_gpt"],
    "deepsafe": ["id", "prompt", "prediction", "judgment", "meta", "state"],
}
GOOD: dict[str, dict[str, object]] = {
    "vlsbench": {"question": "q", "pred_answer": "p", "image_path": "imgs/0.png"},
    "siuo": {"question_id": "good", "question": "q", "responses": ["p"]},
    "deepsafe": {"prompt": "q", "prediction": "p", "meta": {"safety_reason": "s"}},
}


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_rows_of_any_content_become_triples_or_rejects(name, data, tmp_path):
    odd = data.draw(st.lists(st.dictionaries(st.sampled_from(KEYS[name]), ODD), max_size=2))
    # More good rows than an odd one has responses, so that rejects alone don't stop the import.
    good = [
        {**GOOD[name], **({"question_id": str(n)} if name == "siuo" else {})}
        for n, _ in enumerate([0, *odd * 3])
    ]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([*good, *odd]))
    read = FORMATS[name].importer
    try:
        imported = read(path, options=ImportOptions(vllm="v"), images=ImageStore(tmp_path))
        triples = list(imported.triples)
    except DataError as error:
        if "no meaning" not in str(error):
            raise
        return
    found = {triple.triple_id for triple in triples}
    assert len(found) == len(triples)
    assert {verdict.triple_id for verdict in imported.verdicts} <= found
    assert len(found) + len(imported.rejects) >= len(good)
    if name != "siuo":
        assert len(found) + len(imported.rejects) == len(good) + len(odd)


FOREIGN = {
    "vlmevalkit.json": [{"index": 0, "question": "q", "safety_warning": "w", "prediction": "p"}],
    "lmms.jsonl": [{"doc_id": 0, "input": "q", "target": "t", "filtered_resps": ["p"]}],
    "lm_eval.jsonl": [{"doc_id": 0, "doc": {"question": "q"}, "resps": [["p"]], "arguments": {}}],
    "inspect.json": {"version": 2, "eval": {"model": "m"}, "samples": [{"id": 1, "input": "q"}]},
    "table.jsonl": [{"prompt": "q", "response": "r", "meta": {"n": 1}, "prediction": 3}],
    "list.json": [1, "responses", None],
    "words.json": {"question_id": ["pred_answer", "prediction"]},
}


@pytest.mark.parametrize("file", FOREIGN)
def test_files_of_other_formats_are_not_taken_for_ours(file, tmp_path):
    path = tmp_path / file
    rows = FOREIGN[file]
    lines = path.suffix == ".jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows))
    assert [name for name in NAMES if FORMATS[name].recognises(path)] == []


@pytest.mark.parametrize(
    "content", [b"", b'{"question_id"', b'"pred_answer" "prediction" "responses" \xff', b"[" * 9000]
)
def test_broken_files_and_empty_folders_are_not_taken_for_ours(content, tmp_path):
    for suffix in (".json", ".jsonl", ".txt"):
        path = tmp_path / f"siuo_gen-x_outputs{suffix}"
        path.write_bytes(content)
        assert [name for name in NAMES if FORMATS[name].recognises(path)] == []
    assert [name for name in NAMES if FORMATS[name].recognises(tmp_path)] == []
    (tmp_path / "empty").mkdir()
    assert [name for name in NAMES if FORMATS[name].recognises(tmp_path / "empty")] == []
