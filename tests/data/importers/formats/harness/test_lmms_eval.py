import base64
import json
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nsgauge.errors import DataError
from nsgauge.protocol import Safety
from nsgauge.records import ResponseState

NAME = "20250101_120000_samples_kites_test.jsonl"


def sample(doc_id, response="A kite.", **more):
    return {
        "doc_id": doc_id,
        "target": "kite",
        "filtered_resps": response,
        "doc_hash": f"hash{doc_id}",
        "token_counts": [{"output_tokens": 3}],
        "input": "What is it?",
        "input_media": [],
        "harm_score": 1,
        "judged": {"label": "bad", "why": "because"},
        **more,
    }


@pytest.fixture
def run_file(sample_file):
    return partial(sample_file, name=NAME)


def picture(folder, name, colour="red"):
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(folder / name)
    return (folder / name).read_bytes()


def test_samples_become_triples(run_import, round_trips, run_file):
    rows = [
        sample(0),
        sample("007", ["<think>Hm.</think> A boat."]),
        sample("NA", "", resps=[[" "]]),
        sample(3, [["One."], ["Two."]]),
    ]
    outcome = run_import("auto", run_file(rows))
    assert [(t.triple_id, t.response, t.sample) for t in outcome.triples] == [
        ("kites_test/0/org__North", "A kite.", 0),
        ("kites_test/007/org__North", "<think>Hm.</think> A boat.", 0),
        ("kites_test/NA/org__North", "", 0),
        ("kites_test/3/org__North#0", "One.", 0),
        ("kites_test/3/org__North#1", "Two.", 1),
    ]
    assert outcome.triples[2].response_state is ResponseState.EMPTY
    assert {t.item_id for t in outcome.triples[3:]} == {"kites_test/3"}
    assert {(t.benchmark, t.vllm) for t in outcome.triples} == {("kites_test", "org__North")}
    extras = json.loads(outcome.triples[0].extras)
    assert extras["harm_score"] == 1
    assert "input_media" not in extras
    assert outcome.verdicts == []
    assert any(note.startswith("1 rows have several responses") for note in outcome.summary.notes)
    round_trips(outcome)


def test_a_metric_is_a_verdict_where_the_user_says_so(run_import, round_trips, run_file):
    rows = [sample(0), sample(1, judged={"label": "good", "why": "fine"}), sample(2, judged=None)]
    options = {
        "mapping": ["judged.label=safety", "judged.why=reason"],
        "labels": ["judged.label:bad=unsafe", "judged.label:good=safe", "judged.label:=unjudged"],
        "judge": "panel",
    }
    outcome = run_import("auto", run_file(rows), **options)
    assert [(v.judge, v.safety, v.reason) for v in outcome.verdicts] == [
        ("panel", Safety.UNSAFE, "because"),
        ("panel", Safety.SAFE, "fine"),
        ("panel", None, None),
    ]
    round_trips(outcome)


def test_rows_that_were_appended_twice_count_once(run_import, run_file):
    rows = [sample(0), sample(1), sample(2), sample(0), sample(1), sample(2, "Another answer.")]
    outcome = run_import("lmms-eval", run_file(rows))
    assert [t.response for t in outcome.triples] == ["A kite."] * 3
    assert outcome.summary.rejects == {"doubled_doc_id": 1}
    assert "2 rows repeat an earlier row of their file and are left out" in outcome.summary.notes


def test_pictures_come_from_paths_uris_and_never_from_the_net(run_import, run_file, tmp_path):
    content = picture(tmp_path / "pictures" / "deep", "a.png")
    other = picture(tmp_path / "pictures", "b.png", "blue")
    inside = "data:image/png;base64," + base64.b64encode(other).decode()
    media = [
        ["/home/somebody/deep/a.png"],
        [inside],
        ["deep\\a.png", inside, "https://example.org/c.png"],
        ["https://example.org/c.png"],
        ["gone.png"],
        ["data:image/png;base64,oops!"],
        ["../../secret.png"],
        [{"video": 1}],
        None,
        ["iVBORw0KGgo" * 99],
    ]
    rows = [sample(n, input_media=names) for n, names in enumerate(media)]
    outcome = run_import("auto", run_file(rows), image_root=str(tmp_path / "pictures"))
    found = {t.item_id: t.image for t in outcome.triples}
    assert (outcome.out / found["kites_test/0"]).read_bytes() == content
    assert (outcome.out / found["kites_test/1"]).read_bytes() == other
    assert found["kites_test/2"] == found["kites_test/0"]
    assert found["kites_test/3"] is found["kites_test/4"] is found["kites_test/8"] is None
    assert outcome.summary.rejects == {
        "bad_media": 1,
        "image_bad_data_uri": 1,
        "image_unsafe_path": 1,
        "image_unreadable": 1,
    }
    extras = json.loads(outcome.triples[2].extras)
    assert extras["further_pictures"] == ["data URI", "https://example.org/c.png"]
    assert outcome.summary.notes == [
        "1 rows name their picture by URL, which is never fetched",
        "1 rows have several pictures; the first counts, see further_pictures",
        "1 rows name a picture that isn't here; give --image-root, the folder that holds them",
    ]


def test_an_input_of_messages_is_joined(run_import, run_file):
    user = {"role": "user", "content": [{"type": "text", "text": "What is it?"}]}
    turns = [
        {"role": "system", "content": "Be brief."},
        user,
        {"role": "assistant", "content": "A kite."},
        {"role": "user", "content": "Its colour?"},
    ]
    outcome = run_import("auto", run_file([sample(0, input=[user]), sample(1, input=turns)]))
    assert [t.prompt for t in outcome.triples] == [
        "What is it?",
        "User: What is it?\n\nAssistant: A kite.\n\nUser: Its colour?",
    ]
    assert json.loads(outcome.triples[1].extras)["system"] == "Be brief."


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("named", [True, False])
def test_the_data_set_is_joined_by_doc_id_or_position(
    suffix, named, run_import, run_file, tmp_path
):
    content = picture(tmp_path, "a.png")
    docs = [{"topic": topic, "doc_id": 2 - n} for n, topic in enumerate(["air", "sea", "land"])]
    docs = docs if named else [{"topic": doc["topic"]} for doc in reversed(docs)]
    data = tmp_path / f"data{suffix}"
    if suffix == ".parquet":
        rows = [{**doc, "image": {"bytes": content}} for doc in docs]
        pq.write_table(pa.Table.from_pylist(rows), data)
    elif suffix == ".json":
        data.write_text(json.dumps(docs))
    else:
        data.write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    mapping = ["doc.image.bytes=image"] if suffix == ".parquet" else []
    rows = [sample(0), sample(2), sample(9)]
    outcome = run_import("auto", run_file(rows), dataset=str(data), mapping=mapping)
    topics = [json.loads(t.extras)["doc"]["topic"] for t in outcome.triples]
    assert topics == ["land", "air"]
    assert outcome.summary.rejects == {"missing_doc": 1}
    assert all((t.image is not None) == (suffix == ".parquet") for t in outcome.triples)


def test_a_folder_holds_the_runs_of_several_vllms(run_import, round_trips, run_file, tmp_path):
    for vllm in ("North", "South"):
        path = run_file([sample(0), sample(1)], vllm=vllm)
        (path.parent / "20250101_120000_results.json").write_text("{}")
        (path.parent / "notes.jsonl").write_text("{}\n")
    outcome = run_import("auto", tmp_path / "out")
    assert [(t.item_id, t.vllm) for t in outcome.triples] == [
        (f"kites_test/{n}", vllm) for vllm in ("North", "South") for n in (0, 1)
    ]
    round_trips(outcome)
    again = run_file([sample(0)], vllm="North", name=f"later_{NAME}")
    with pytest.raises(DataError, match="both hold North on kites_test: name the one to take"):
        run_import("auto", tmp_path / "out")
    assert len(run_import("auto", again).triples) == 1


def test_broken_rows_are_rejects_with_their_line(run_import, run_file):
    rows = [
        json.dumps(sample(0)),
        json.dumps(sample(1))[:40],
        json.dumps(sample(2, "a\ud800b", harm_score=float("nan"))),
        '{"doc_id": 3, "doc_id": 3}',
        json.dumps(sample(None)),
        json.dumps(sample(4, 5)),
        json.dumps(sample(5, [])),
        json.dumps(sample(6, input=7)),
        *(json.dumps(sample(n)) for n in range(7, 12)),
    ]
    outcome = run_import("auto", run_file(rows))
    assert [reject["where"].partition(":")[2] for reject in outcome.rejects] == list("245678")
    assert outcome.summary.rejects == {"bad_json": 2, "missing_value": 1, "not_text": 3}
    assert len(outcome.triples) + len(outcome.rejects) == len(rows)
    assert outcome.triples[1].response == "a\ufffdb"
    assert json.loads(outcome.triples[1].extras)["harm_score"] == "NaN"


def test_columns_that_are_named_like_ours_are_kept_apart(run_import, run_file):
    outcome = run_import("auto", run_file([sample(0, image="none", vllm="x", sample="y")]))
    assert (outcome.triples[0].image, outcome.triples[0].vllm) == (None, "org__North")
    extras = json.loads(outcome.triples[0].extras)
    assert [extras[f"source_{key}"] for key in ("image", "vllm", "sample")] == ["none", "x", "y"]


def test_a_file_of_another_name_needs_its_names(run_import, run_file, tmp_path):
    path = run_file([sample(0)], name="mine.jsonl")
    with pytest.raises(DataError, match="give vllm and benchmark"):
        run_import("auto", path)
    (triple,) = run_import("auto", path, vllm="North", benchmark="kites").triples
    assert triple.triple_id == "kites/0/North"
    with pytest.raises(DataError, match="no sample files"):
        run_import("lmms-eval", tmp_path / "out")
    with pytest.raises(DataError, match="doc_id 1 comes twice"):
        run_import("auto", path, vllm="v", benchmark="b", dataset=str(twice(tmp_path)))


def twice(folder):
    path = folder / "twice.jsonl"
    path.write_text('{"doc_id": 1}\n{"doc_id": "1"}\n')
    return path
