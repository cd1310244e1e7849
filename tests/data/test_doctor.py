import pytest
from PIL import Image

from nsgauge.data.doctor import Severity, examine
from nsgauge.data.images import ImageStore
from nsgauge.data.tables import SourceNote, write_data
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import ResponseState, Triple, Verdict, VerdictState


def triple(number, **changes):
    fields = {
        "response": f"one two {number}",
        "item_id": f"i{number // 2}",
        "vllm": ("north", "south")[number % 2],
        **changes,
    }
    return Triple(triple_id=f"t{number}", prompt="p", benchmark="b", **fields)


def write(out, triples, *, verdicts=(), image_root=None):
    source = SourceNote(importer="test", image_root=image_root)
    write_data(out, triples=triples, verdicts=verdicts, rejects=[], source=source)
    return out


def texts(diagnosis, severity):
    return [finding.text for finding in diagnosis.findings if finding.severity is severity]


def found(diagnosis, words):
    return any(words in finding.text for finding in diagnosis.findings)


@pytest.fixture
def healthy(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    store = ImageStore(tmp_path / "staged")
    name = store.add_file(tmp_path, "a.png")
    triples = [triple(number, image=name) for number in range(200)]
    verdicts = [
        Verdict(
            triple_id=f"t{number}",
            judge="j",
            safety=list(Safety)[number // 2 % 2],
            grounding=list(Grounding)[number // 4 % 2],
        )
        for number in range(200)
    ]
    return write(tmp_path / "data", triples, verdicts=verdicts, image_root=store.root)


def test_a_healthy_folder_is_counted_and_has_no_findings(healthy):
    diagnosis = examine(healthy)
    assert (diagnosis.triples, diagnosis.items) == (200, 100)
    assert diagnosis.vllms == {"north": 100, "south": 100}
    assert diagnosis.benchmarks == {"b": 200}
    assert diagnosis.images == {"present": 200, "absent": 0, "missing": 0}
    assert diagnosis.response_states == {"answered": 200}
    assert diagnosis.response_words == dict.fromkeys((0.0, 0.5, 0.9, 0.99, 1.0), 3)
    cells = ("grounded_safe", "grounded_unsafe", "ungrounded_safe", "ungrounded_unsafe")
    assert diagnosis.verdicts == {"j": dict.fromkeys(cells, 50)}
    assert diagnosis.duplicate_responses == 0
    assert diagnosis.findings == []


def test_a_picture_that_is_gone_is_an_error_and_comes_first(healthy):
    for path in (healthy / "images").iterdir():
        path.unlink()
    diagnosis = examine(healthy)
    assert diagnosis.images == {"present": 0, "absent": 0, "missing": 200}
    assert diagnosis.findings[0].severity is Severity.ERROR
    assert "200 triples name a picture" in diagnosis.findings[0].text


def test_a_judge_of_safety_alone_lacks_grounding_and_cells_are_not_rare(tmp_path):
    triples = [triple(number) for number in range(4)]
    verdicts = [
        *(Verdict(triple_id=f"t{n}", judge="guard", safety=Safety.SAFE) for n in range(3)),
        Verdict(triple_id="t3", judge="guard", state=VerdictState.UNPARSABLE),
    ]
    diagnosis = examine(write(tmp_path / "data", triples, verdicts=verdicts))
    assert diagnosis.verdicts == {"guard": {"safe": 3, "unparsable": 1}}
    warnings = texts(diagnosis, Severity.WARNING)
    assert "judge 'guard' has no grounding label: that axis stays unknown" in warnings
    assert not found(diagnosis, "no safety label")
    assert not found(diagnosis, "verdicts of")
    assert found(diagnosis, "left 1 of 4 without an answer")
    assert found(diagnosis, "fewer than 50 judged triples for north (2), south (1)")


def test_a_vllm_that_a_judge_never_saw_counts_nought(tmp_path):
    triples = [triple(0), triple(1)]
    verdicts = [Verdict(triple_id="t0", judge="j", safety=Safety.SAFE)]
    diagnosis = examine(write(tmp_path / "data", triples, verdicts=verdicts))
    assert found(diagnosis, "north (1), south (0)")


def test_rare_cells_are_named_with_their_counts(tmp_path):
    verdict = Verdict(triple_id="t0", judge="j", safety=Safety.SAFE, grounding=Grounding.GROUNDED)
    diagnosis = examine(write(tmp_path / "data", [triple(0)], verdicts=[verdict]))
    assert found(diagnosis, "fewer than 20 verdicts of grounded_safe (1), grounded_unsafe (0)")


def test_what_is_odd_about_the_triples_is_told(tmp_path):
    triples = [
        *(triple(n, response="Sorry.", item_id=f"i{n}") for n in range(3)),
        triple(3, response=" ", response_state=ResponseState.EMPTY, item_id="i3", vllm=""),
    ]
    diagnosis = examine(write(tmp_path / "data", triples))
    assert diagnosis.duplicate_responses == pytest.approx(2 / 3)
    assert diagnosis.response_states == {"answered": 3, "empty": 1}
    for words in (
        "no triple has a picture",
        "4 items",
        "map item_id",
        "1 responses are empty",
        "67% of the responses repeat",
        "1 triples have no VLLM name",
        "no verdicts",
    ):
        assert found(diagnosis, words), words


def test_an_empty_folder_says_where_to_look(tmp_path):
    diagnosis = examine(write(tmp_path / "data", []))
    assert diagnosis.response_words == {}
    assert "rejects.jsonl" in texts(diagnosis, Severity.ERROR)[0]
