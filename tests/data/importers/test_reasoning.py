import json

from nsgauge.records import ResponseState


def test_reasoning_is_taken_off_on_request_and_kept_aside(run_import, jsonl, round_trips):
    texts = {
        "<think>A kite? Yes.</think>\n A kite.": "A kite.",
        "Hm.</think>A kite.": "A kite.",
        "<SUMMARY>s</SUMMARY><CAPTION>c</CAPTION><CONCLUSION> A kite. </CONCLUSION>": "A kite.",
        "<think>a <answer>boat</answer>?</think><answer>A kite.</answer>": "A kite.",
        "<think>never en": "",
        "Plain <b>text</b> ": "Plain <b>text</b> ",
    }
    source = jsonl([{"prompt": "p", "response": text} for text in texts])
    assert [triple.response for triple in run_import("table", source).triples] == list(texts)
    outcome = run_import("table", source, strip_reasoning=True)
    assert [triple.response for triple in outcome.triples] == list(texts.values())
    assert outcome.triples[4].response_state is ResponseState.EMPTY
    kept = json.loads(outcome.triples[0].extras)["response_with_reasoning"]
    assert kept == next(iter(texts))
    assert outcome.triples[5].extras is None
    round_trips(outcome)
