import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nsgauge.data.importers import contract
from nsgauge.errors import DataError
from nsgauge.records import ResponseState

PLAIN = ["prompt=prompt", "response=response"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.sampled_from("a\ud800\udfff\x00\u200d\u202e")))
def test_characters_that_no_file_can_hold_become_the_replacement(text, run_import, jsonl):
    path = jsonl([{"prompt": "p", "response": text}])
    outcome = run_import("table", path)
    wanted = "".join("\ufffd" if c in "\ud800\udfff\x00" else c for c in text)
    # Two halves of one character in JSON are that character.
    if "\ud800\udfff" not in text:
        assert outcome.triples[0].response == wanted
        assert bool(outcome.summary.notes) == (wanted != text)


def test_an_empty_response_is_kept_as_empty(run_import, jsonl):
    rows = [{"prompt": "", "response": text} for text in ("", " \n", "x")]
    outcome = run_import("table", jsonl(rows))
    states = [t.response_state for t in outcome.triples]
    assert states == [ResponseState.EMPTY, ResponseState.EMPTY, ResponseState.ANSWERED]


def test_pictures_are_copied_and_bad_ones_are_rejects(run_import, jsonl, tmp_path):
    (tmp_path / "pics" / "deep").mkdir(parents=True)
    Image.new("RGB", (4, 4), "red").save(tmp_path / "pics" / "deep" / "a.png")
    (tmp_path / "pics" / "page.jpg").write_text("<html>")
    (tmp_path / "secret.png").write_bytes((tmp_path / "pics" / "deep" / "a.png").read_bytes())
    names = [
        "deep/a.png",
        "deep\\a.png",
        "",
        None,
        "./deep/a.png",
        "page.jpg",
        "gone.png",
        "../secret.png",
        # As many harnesses write them; what lies inside the root is found all the same.
        str(tmp_path / "pics" / "deep" / "a.png"),
        str(tmp_path / "secret.png"),
        str(tmp_path / "pics" / ".." / "secret.png"),
    ]
    rows = [{"prompt": "p", "response": str(n), "image": name} for n, name in enumerate(names)]
    path = jsonl(rows)
    outcome = run_import("table", path, image_root=str(tmp_path / "pics"))
    images = [t.image for t in outcome.triples]
    assert images[0] == images[1] == images[4] == images[5] is not None
    assert images[2:4] == [None, None]
    assert (outcome.out / images[0]).is_file()
    assert outcome.summary.images == 1
    assert outcome.summary.rejects == {
        "image_missing": 1,
        "image_not_an_image": 1,
        "image_unsafe_path": 3,
    }


def test_pictures_lie_beside_the_source_by_default_or_in_it_as_bytes(run_import, jsonl, tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    rows = [{"prompt": "p", "response": "r", "image": {"bytes": (tmp_path / "a.png").read_bytes()}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    mapping = [*PLAIN, "image.bytes=image"]
    inside = run_import("table", tmp_path / "a.parquet", mapping=mapping)
    path = jsonl([{"prompt": "p", "response": "r", "image": "a.png"}])
    assert run_import("table", path).triples[0].image == inside.triples[0].image


def test_items_without_an_id_are_told_by_benchmark_prompt_and_picture(run_import, jsonl):
    rows = [
        {"prompt": p, "response": r, "vllm": v}
        for p, r, v in [("p", "a", "n"), ("p", "b", "s"), ("q", "a", "n")]
    ]
    items = [t.item_id for t in run_import("table", jsonl(rows)).triples]
    assert items[0] == items[1] != items[2]


def test_equal_answers_without_ids_are_answers_of_their_own(run_import, jsonl):
    rows = [{"prompt": "p", "response": "Sorry."}] * 3
    outcome = run_import("table", jsonl(rows))
    ids = [t.triple_id for t in outcome.triples]
    assert ids == [ids[0], f"{ids[0]}-2", f"{ids[0]}-3"]


def test_duplicate_ids_are_an_error_that_names_them(run_import, jsonl):
    rows = [{"prompt": "p", "response": "r", "triple_id": f"x{n % 2}"} for n in range(4)]
    with pytest.raises(DataError, match=r"2 values of triple_id come more than once.*x0, x1"):
        run_import("table", jsonl(rows))


def test_rows_of_votes_share_their_triple(run_import, jsonl):
    rows = [
        {
            "triple_id": "t",
            "prompt": "p",
            "response": "r",
            "judge": judge,
            "vote": vote,
            "safety": safety,
            "confidence": 0.5 + vote,
        }
        for judge, vote, safety in [("a", 0, "safe"), ("a", 1, "unsafe"), ("b", 0, "safe")]
    ]
    outcome = run_import("table", jsonl(rows))
    assert len(outcome.triples) == 1
    assert [(v.judge, v.vote) for v in outcome.verdicts] == [("a", 0), ("a", 1), ("b", 0)]
    assert outcome.summary.notes == [
        "columns kept as extras, read as no field: confidence",
        "2 rows are further votes on the triple of an earlier row",
    ]


def test_rows_of_votes_that_contradict_each_other_are_an_error(run_import, jsonl):
    rows = [
        {"triple_id": "t", "prompt": "p", "response": text, "vote": vote, "safety": "safe"}
        for vote, text in enumerate(["r", "s"])
    ]
    with pytest.raises(DataError, match=r"a\.jsonl:2: triple 't' has other contents"):
        run_import("table", jsonl(rows))
    twice = [{**rows[0]}, {**rows[0]}]
    with pytest.raises(DataError, match="triple_id, judge, vote"):
        run_import("table", jsonl(twice))


def test_too_many_rejects_stop_the_import(run_import, jsonl, monkeypatch):
    rows = [{"prompt": "p", "response": "r"}, *[{"prompt": "p", "response": None}] * 2]
    path = jsonl(rows)
    with pytest.raises(DataError, match=r"2 of 3 rows rejected; missing_value \(2\); the first at"):
        run_import("table", path)
    monkeypatch.setattr(contract, "REJECTS_LIMIT", 1)
    with pytest.raises(DataError, match="more than 1 rejects"):
        run_import("table", path)


def test_votes_states_and_extras_survive_the_generic_table(run_import, round_trips, jsonl):
    rows = [
        {"prompt": "p", "response": "r", "triple_id": "007", "judge": "j", "vote": vote, **said}
        for vote, said in enumerate(
            [
                {"safety": "unsafe", "grounding": "not_grounded", "hallucinated": True},
                {"safety": "safe", "state": "answered", "reason": "fine", "category": 3},
                {"state": "truncated", "prompt_hash": "ab", "inclusion_probability": 0.25},
            ]
        )
    ]
    silent = {"prompt": "p", "response": " ", "triple_id": "NA", "vllm": "v", "note": [1, None]}
    outcome = run_import("table", jsonl([*rows, silent]))
    assert [verdict.state for verdict in outcome.verdicts] == ["answered", "answered", "truncated"]
    assert outcome.verdicts[2].inclusion_probability == 0.25
    assert [triple.response_state for triple in outcome.triples] == ["answered", "empty"]
    assert json.loads(outcome.triples[1].extras) == {"note": [1, None]}
    round_trips(outcome)


BAD_FIELDS = [
    ({"state": "answered"}, "bad_verdict"),
    ({"state": "refused", "safety": "safe"}, "bad_verdict"),
    ({"state": "bored"}, "bad_word"),
    ({"response_state": "late"}, "bad_word"),
    ({"safety": "safe", "inclusion_probability": 0}, "bad_verdict"),
    ({"safety": "safe", "inclusion_probability": True}, "bad_number"),
    ({"extras": "{"}, "bad_extras"),
    ({"extras": [1]}, "bad_extras"),
    ({"extras": '{"a": ' + "[" * 200 + "]" * 200 + "}"}, "too_deep"),
    ({"note": json.loads("[" * 200 + "]" * 200)}, "too_deep"),
    ({"safety": json.loads("[" * 200 + "]" * 200)}, "too_deep"),
]


@pytest.mark.parametrize(("said", "reason"), BAD_FIELDS)
def test_a_field_that_contradicts_itself_is_a_reject(said, reason, run_import, jsonl):
    plain = {"prompt": "p", "response": "r", "state": None, "safety": None, "grounding": None}
    columns = {**plain, "judge": "j", "response_state": None, "inclusion_probability": None}
    good = {**columns, "safety": "safe", "extras": None}
    outcome = run_import("table", jsonl([{**good, "prompt": "q"}, {**columns, **said}]))
    assert outcome.summary.rejects == {reason: 1}
