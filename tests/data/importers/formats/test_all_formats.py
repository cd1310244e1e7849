"""All formats of rows: whatever lies in a row, and whatever a file looks like."""

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import ImportOptions
from nsgauge.data.importers.registry import FORMATS
from nsgauge.errors import DataError

NAMES = ("deepsafe", "siuo", "vlsbench")
MESSAGE = {
    "role": "user",
    "content": [{"type": "text", "text": "q"}, {"type": "image", "image": "i"}],
}
NESTED: list[object] = [
    [MESSAGE, {"role": "assistant", "content": None}],
    {"completion": 3, "choices": [{"message": {"content": [MESSAGE]}, "stop_reason": 4}, None]},
    {"grade": {"value": {"a": [1], "b": {"c": None}}, "explanation": {}}, "other": None},
    {"gen_args_0": {"arg_0": [MESSAGE], "arg_1": None}},
    [["a", ["b"]], {}],
    ["data:image/png;base64,a2l0ZQ==", 5],
    "['a', 3]",
    "data:,",
]
ODD = st.one_of(
    st.sampled_from(NESTED),
    st.none(),
    st.booleans(),
    st.integers(-2, 4),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["q", "imgs/1.png", "[Safety Judgement:] True", "[CONTENT_FILTER]", "NaN"]),
    st.lists(st.one_of(st.none(), st.integers(-1, 2), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.sampled_from(["label", "safety", "image", "safety_reason"]), st.integers(1)),
)
ARGUMENTS = {"gen_args_0": {"arg_0": "q", "arg_1": {}}}
KEYS = {
    "vlsbench": ["question", "pred_answer", "image_path", "safe_label", "label_str", "id"],
    "siuo": ["question_id", "question", "image", "responses", "evaluation", "safety_gpt"],
    "deepsafe": ["id", "prompt", "prediction", "judgment", "meta", "state"],
    "vlmevalkit": ["index", "question", "prediction", "image_path", "safety_score", "safety_log"],
    "lm-eval": ["doc_id", "arguments", "filtered_resps", "resps", "doc", "filter"],
    "lmms-eval": ["doc_id", "input", "filtered_resps", "resps", "input_media", "image"],
    "inspect": ["id", "epoch", "input", "messages", "output", "scores", "attachments", "error"],
}
GOOD: dict[str, dict[str, object]] = {
    "vlsbench": {"question": "q", "pred_answer": "p", "image_path": "imgs/0.png"},
    "siuo": {"question_id": "good", "question": "q", "responses": ["p"]},
    "deepsafe": {"prompt": "q", "prediction": "p", "meta": {"safety_reason": "s"}},
    "vlmevalkit": {"index": "good", "question": "q", "prediction": "p"},
    "lm-eval": {"doc_id": "good", "filtered_resps": ["p"], "arguments": ARGUMENTS},
    "lmms-eval": {"doc_id": "good", "input": "q", "filtered_resps": "p"},
    "inspect": {"id": "good", "input": "q", "output": {"completion": "p"}},
}
# The key of a row, where a row that repeats one is an error or is left out.
IDS = {
    "siuo": "question_id",
    "vlmevalkit": "index",
    "inspect": "id",
    "lm-eval": "doc_id",
    "lmms-eval": "doc_id",
}
# What stops an import and says so: a value without a meaning, a key twice, a choice to make.
STOPS = r"no meaning|other contents|both hold|give one of them"


@pytest.mark.parametrize("name", KEYS)
@given(data=st.data())
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_rows_of_any_content_become_triples_or_rejects(name, data, tmp_path):
    odd = data.draw(st.lists(st.dictionaries(st.sampled_from(KEYS[name]), ODD), max_size=2))
    odd = [{**GOOD[name], **row} if data.draw(st.booleans()) else row for row in odd]
    # More good rows than an odd one has responses, so that rejects alone don't stop the import.
    good = [
        {**GOOD[name], **({IDS[name]: f"g{n}"} if name in IDS else {})}
        for n, _ in enumerate([0, *odd * 3])
    ]
    rows = [*good, *odd]
    path = tmp_path / "rows.jsonl" if name.startswith("lm") else tmp_path / "rows.json"
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        log = {"version": 2, "eval": {"task": "t", "model": "m"}, "samples": rows}
        path.write_text(json.dumps(log if name == "inspect" else rows))
    options = ImportOptions(vllm="v", benchmark="b", judge="j")
    try:
        imported = FORMATS[name].importer(path, options=options, images=ImageStore(tmp_path))
        triples = list(imported.triples)
    except DataError as error:
        if not re.search(STOPS, str(error)):
            raise
        return
    found = {triple.triple_id for triple in triples}
    assert {verdict.triple_id for verdict in imported.verdicts} <= found
    assert len(triples) + len(imported.rejects) >= len(good)
    if name in NAMES:
        assert len(found) == len(triples)
    if name in {"vlsbench", "deepsafe"}:
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
