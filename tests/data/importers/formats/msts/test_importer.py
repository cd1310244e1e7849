import csv
import json

import pytest
from PIL import Image

from nsgauge.errors import DataError, SettingsError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import ResponseState, VerdictState

RESPONSES = next(
    csv.reader(
        [
            "case_id,prompt_type,prompt_text,unsafe_image_description,model,response,annot1_name,"
            "annot1_label,annot1_note,annot2_name,annot2_label,annot2_note,agreement_label,"
            "agreement_taxonomy,final_expert,final_label,final_taxonomy,final_note"
        ]
    )
)
TEXT_ONLY = [column for column in RESPONSES if column != "unsafe_image_description"]
OTHER = [*RESPONSES[:9], "response_translated"]
AUTO = ["Qwen2-VL-72B-Instruct", "LlavaGuard-v1.2-7B-OV", "gpt-4o-2024-05-13"]
HAZARDS = next(
    csv.reader(
        [
            "hazard_category,hazard_subcategory,hazard_subsubcategory,case_id,case_text,unsafe_image_id,"
            "unsafe_image_description,prompt_id,prompt_text,prompt_type"
        ]
    )
)
IMAGES = next(
    csv.reader(
        [
            "case_id,unsafe_image_id,unsafe_image_description,unsafe_image_url,unsafe_image_license,"
            "unsafe_image_cw"
        ]
    )
)
REBUTTAL, MISREAD = "1.1 - rejection or rebuttal", "1.6 - misunderstanding of prompt / image"
PHOTO_URL = "https://example.org/blob/main/data/author_pics/author_1.jpg?raw=true"


def write(path, columns, rows):
    """CRLF and quoted fields with line breaks inside, as in the public files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def answer(case, kind, model, label, *, response="No,\nit is not.", second=None, final=None):
    final = final or label
    return {
        "case_id": case,
        "prompt_type": kind,
        "prompt_text": "Should I?",
        "unsafe_image_description": "Lamp",
        "model": model,
        "response": response,
        "annot1_name": "3",
        "annot1_label": label,
        "annot1_note": "",
        "annot2_name": "5",
        "annot2_label": second or label,
        "annot2_note": "hm",
        "final_label": "1 - safe" if final.startswith("1") else "2 - unsafe",
        "final_taxonomy": final,
    }


ENGLISH = [
    answer("case_0001", "prompt_assistance_text", "openbmb--MiniCPM-V-2_6", REBUTTAL),
    answer(
        *("case_0001", "prompt_intention_text", "gpt-4o-2024-05-13", MISREAD),
        second="1.7 - image description",
        final="1.7 - image description",
    ),
    answer("case_0002", "prompt_assistance_text", "gpt-4o-2024-05-13", "2.1 - encouragement"),
    answer(
        *("case_0002", "prompt_intention_text", "gemini-1.5-pro", "1.2 - refusal only"),
        response="API RetryError occurred.",
    ),
    answer(
        *("case_0002", "prompt_assistance_text", "gemini-1.5-pro", "1.Z - other (safe)"),
        response="FinishReason.SAFETY",
    ),
]
AUTO_ROWS = [
    dict(zip(AUTO, values, strict=True))
    for values in [
        ("safe.", "unsafe", "Safe"),
        ("unsupported", "safe", "unsafe"),
        ("unsafe", "statement:", "unsafe"),
        ("safe", "background google", "safe"),
        ("safe", "safe", ""),
    ]
]


@pytest.fixture
def tree(tmp_path):
    """A tree of five English answers, one text-only and one Spanish, with one photo."""
    data = tmp_path / "msts" / "data"
    folder = data / "response_annotations"
    write(folder / "english_multimodal.csv", RESPONSES, ENGLISH)
    text_only = answer("case_0001", "prompt_assistance_textonly", "openbmb/MiniCPM-V-2_6", MISREAD)
    text_only.pop("unsafe_image_description")
    write(folder / "english_textonly.csv", TEXT_ONLY, [text_only])
    spanish = answer("case_0002", "prompt_assistance_text", "openbmb/MiniCPM-V-2_6", REBUTTAL)
    spanish = {key: value for key, value in spanish.items() if key in OTHER}
    write(folder / "spanish_multimodal.csv", OTHER, [{**spanish, "response_translated": "No."}])
    write(data / "auto_eval" / "english_multimodal_autoeval.csv", AUTO, AUTO_ROWS)
    hazards = [
        {"case_id": f"case_000{n}", "hazard_category": "Other", "prompt_type": "assistance"}
        for n in (1, 2)
    ]
    write(data / "prompts" / "english_multimodal.csv", HAZARDS, hazards)
    images = [
        {"case_id": "case_0001", "unsafe_image_id": "img_1", "unsafe_image_url": PHOTO_URL},
        {
            "case_id": "case_0002",
            "unsafe_image_id": "img_2",
            "unsafe_image_cw": "NA",
            "unsafe_image_url": "https://example.org/x.jpg",
        },
    ]
    write(data / "images" / "unsafe_images.csv", IMAGES, images)
    (data / "author_pics").mkdir()
    Image.new("RGB", (8, 6), "red").save(data / "author_pics" / "author_1.jpg")
    return data.parent


def by_id(rows):
    return {row.triple_id: row for row in rows}


def test_ids_names_and_items_are_the_same_in_every_file(run_import, tree):
    outcome = run_import("msts", tree, languages=["all"])
    assert [triple.triple_id for triple in outcome.triples] == [
        "english/case_0001/assistance/openbmb/MiniCPM-V-2_6",
        "english/case_0001/intention/gpt-4o-2024-05-13",
        "english/case_0002/assistance/gpt-4o-2024-05-13",
        "english/case_0002/intention/gemini-1.5-pro",
        "english/case_0002/assistance/gemini-1.5-pro",
        "english_textonly/case_0001/assistance/openbmb/MiniCPM-V-2_6",
        "spanish/case_0002/assistance/openbmb/MiniCPM-V-2_6",
    ]
    assert {triple.item_id for triple in outcome.triples} == {"case_0001", "case_0002"}
    assert {triple.benchmark for triple in outcome.triples} == {"MSTS"}
    assert [triple.language for triple in outcome.triples] == [*["en"] * 6, "es"]
    assert outcome.triples[0].response == "No,\nit is not."


def test_english_is_always_read_and_the_rest_is_asked_for(run_import, tree):
    assert run_import("msts", tree / "data").summary.triples == 5
    assert run_import("msts", tree, languages=["spanish"]).summary.triples == 6
    with pytest.raises(SettingsError, match=r"klingon.*known: all, english, english_textonly"):
        run_import("msts", tree, languages=["klingon"])


def test_photos_are_found_by_the_end_of_their_url(run_import, tree):
    outcome = run_import("msts", tree, languages=["all"])
    images = [triple.image for triple in outcome.triples]
    assert images[0] == images[1] is not None
    assert images[2:] == [None] * 5
    assert (outcome.out / images[0]).is_file()
    assert outcome.summary.notes == [
        "4 triples of 1 cases have no picture here; "
        "give --image-root, a folder with pictures named by unsafe_image_id"
    ]


def test_further_photos_are_found_by_image_id(run_import, tree, tmp_path):
    (tmp_path / "more").mkdir()
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "more" / "img_2.png")
    outcome = run_import("msts", tree, image_root=str(tmp_path / "more"))
    assert all(triple.image for triple in outcome.triples)
    assert outcome.summary.notes == []


def test_a_photo_that_cannot_be_decoded_rejects_its_rows(run_import, tree):
    (tree / "data" / "author_pics" / "author_1.jpg").write_bytes(b"<html>")
    outcome = run_import("msts", tree)
    assert outcome.summary.rejects == {"image_not_an_image": 2}
    assert outcome.summary.triples == 3
    assert {verdict.triple_id for verdict in outcome.verdicts} == set(by_id(outcome.triples))


def test_what_is_no_answer_is_marked(run_import, tree):
    states = [triple.response_state for triple in run_import("msts", tree).triples]
    assert states == [ResponseState.ANSWERED] * 3 + [ResponseState.NOT_A_RESPONSE] * 2


def test_captions_and_hazards_come_along_but_text_only_has_no_caption(run_import, tree):
    outcome = run_import("msts", tree, languages=["all"])
    assert [triple.caption for triple in outcome.triples] == [*["Lamp"] * 5, None, "Lamp"]
    extras = json.loads(outcome.triples[2].extras)
    assert extras["hazard_category"] == "Other"
    assert extras["final_taxonomy"] == "2.1 - encouragement"
    assert extras["unsafe_image_cw"] == "NA"
    assert "hazard_subsubcategory" not in extras
    assert json.loads(outcome.triples[6].extras)["response_translated"] == "No."


GROUNDED, NOT_GROUNDED = Grounding.GROUNDED, Grounding.NOT_GROUNDED


@pytest.mark.parametrize("strict", [False, True])
def test_labels_become_cells(strict, run_import, tree):
    outcome = run_import("msts", tree, strict=strict)
    assert list(outcome.said("human").values()) == [
        (Safety.SAFE, GROUNDED),
        (Safety.SAFE, None if strict else NOT_GROUNDED),
        (Safety.UNSAFE, GROUNDED),
        (Safety.SAFE, None if strict else GROUNDED),
        (Safety.SAFE, None if strict else GROUNDED),
    ]
    assert list(outcome.said("human-1").values())[1] == (Safety.SAFE, NOT_GROUNDED)
    categories = [v.category for v in outcome.verdicts if v.judge == "human"]
    assert categories == ["1.1", "1.7", "2.1", "1.2", "1.Z"]
    assert {v.reason for v in outcome.verdicts if v.judge == "human-2"} == {"hm"}


def test_other_languages_have_one_annotator_and_no_adjudication(run_import, tree):
    outcome = run_import("msts", tree, languages=["spanish"])
    judges = [v.judge for v in outcome.verdicts if v.triple_id.startswith("spanish/")]
    assert judges == ["human-1"]


def test_automatic_verdicts_join_by_position_and_odd_words_are_no_label(run_import, tree):
    outcome = run_import("msts", tree)
    found = {}
    for judge in AUTO:
        verdicts = [v for v in outcome.verdicts if v.judge == judge]
        assert [v.triple_id for v in verdicts] == [t.triple_id for t in outcome.triples]
        assert {v.grounding for v in verdicts} == {None}
        found[judge] = [v.safety and str(v.safety) for v in verdicts]
        unparsable = [v.state is VerdictState.UNPARSABLE for v in verdicts]
        assert unparsable == [v.safety is None for v in verdicts]
    assert found == {
        AUTO[0]: ["safe", None, "unsafe", "safe", "safe"],
        AUTO[1]: ["unsafe", "safe", None, None, "safe"],
        AUTO[2]: ["safe", "unsafe", "unsafe", "safe", None],
    }


def test_automatic_verdicts_of_another_length_are_refused(run_import, tree):
    path = tree / "data" / "auto_eval" / "english_multimodal_autoeval.csv"
    write(path, AUTO, AUTO_ROWS[:-1])
    with pytest.raises(DataError, match="4 rows for 5 responses"):
        run_import("msts", tree)


def test_a_tree_without_its_side_files_is_read_and_noted(run_import, tree):
    for name in ("prompts", "images", "auto_eval"):
        for path in (tree / "data" / name).iterdir():
            path.unlink()
    outcome = run_import("msts", tree)
    assert {v.judge for v in outcome.verdicts} == {"human", "human-1", "human-2"}
    assert [note[:16] for note in outcome.summary.notes][:2] == [
        "no english_multi",
        "no unsafe_images",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"final_label": "2 - unsafe"}, "row 1: final_label and final_taxonomy disagree"),
        ({"annot1_label": "3.1 - new"}, "row 1: annot1_label is '3.1 - new'"),
        ({"prompt_type": "poem"}, "prompt_type is 'poem'"),
    ],
)
def test_a_value_that_the_layout_does_not_know_is_an_error(change, message, run_import, tree):
    path = tree / "data" / "response_annotations" / "english_multimodal.csv"
    write(path, RESPONSES, [{**ENGLISH[0], **change}, *ENGLISH[1:]])
    with pytest.raises(DataError, match=message):
        run_import("msts", tree)


def test_an_empty_label_is_unjudged(run_import, tree):
    path = tree / "data" / "response_annotations" / "english_multimodal.csv"
    write(path, RESPONSES, [{**ENGLISH[0], "annot2_label": ""}, *ENGLISH[1:]])
    second = [v for v in run_import("msts", tree).verdicts if v.judge == "human-2"]
    assert [v.state for v in second[:2]] == [VerdictState.UNJUDGED, VerdictState.ANSWERED]


def test_a_folder_that_is_no_msts_tree_says_what_is_missing(run_import, tree, tmp_path):
    with pytest.raises(DataError, match="give the root of an MSTS tree"):
        run_import("msts", tmp_path)
    path = tree / "data" / "response_annotations" / "english_multimodal.csv"
    row = {key: value for key, value in ENGLISH[0].items() if key != "model"}
    write(path, [column for column in RESPONSES if column != "model"], [row])
    with pytest.raises(DataError, match="missing: model"):
        run_import("msts", tree)


def test_a_tree_survives_the_generic_table(tree, run_import, round_trips):
    round_trips(run_import("msts", tree, languages=["all"]))


def test_a_tree_is_recognised(tree, run_import):
    assert run_import("auto", tree).triples == run_import("msts", tree).triples
