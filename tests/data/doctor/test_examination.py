import pytest
from PIL import Image

from nsgauge.data.doctor import Severity, TextReader, examine
from nsgauge.data.images import ImageStore
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import ResponseState, Verdict, VerdictState

WORDS = TextReader(
    preset="words",
    context=70,
    characters=10_000,
    count_tokens=lambda texts: [len(text.split()) for text in texts],
)


def texts(diagnosis, severity):
    return [finding.text for finding in diagnosis.findings if finding.severity is severity]


def found(diagnosis, words):
    return any(words in finding.text for finding in diagnosis.findings)


@pytest.fixture
def pictures(tmp_path):
    """Names of a hundred pictures, and the store that holds them."""
    store = ImageStore(tmp_path / "staged")
    names = []
    for number in range(100):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / "a.png")
        names.append(store.add((tmp_path / "a.png").read_bytes()))
    return names, store


@pytest.fixture
def healthy(triple, write, pictures):
    names, store = pictures
    triples = [triple(number, image=names[number // 2]) for number in range(200)]
    verdicts = [
        Verdict(
            triple_id=f"t{number}",
            judge="j",
            safety=list(Safety)[number // 2 % 2],
            grounding=list(Grounding)[number // 4 % 2],
        )
        for number in range(200)
    ]
    return write(triples, verdicts=verdicts, image_root=store.root)


def test_a_healthy_folder_is_counted_and_has_no_findings(healthy):
    diagnosis = examine(healthy, reader=WORDS)
    assert (diagnosis.triples, diagnosis.items) == (200, 100)
    assert diagnosis.vllms == {"north": 100, "south": 100}
    assert diagnosis.benchmarks == {"b": 200}
    assert diagnosis.images == {"present": 200, "absent": 0, "missing": 0}
    assert diagnosis.response_states == {"answered": 200}
    assert diagnosis.response_words == dict.fromkeys((0.0, 0.5, 0.9, 0.99, 1.0), 3)
    cells = ("grounded_safe", "grounded_unsafe", "ungrounded_safe", "ungrounded_unsafe")
    assert diagnosis.verdicts == {"j": dict.fromkeys(cells, 50)}
    assert diagnosis.judges["j"].answered == 200
    assert diagnosis.duplicate_responses == 0
    assert sum(diagnosis.copies.sides.values()) == 200
    assert diagnosis.texts is not None
    assert set(diagnosis.texts.response_tokens.values()) == {3}
    assert diagnosis.findings == []


def test_texts_are_measured_only_with_a_tokenizer(healthy):
    assert examine(healthy).texts is None


def test_a_picture_that_is_gone_is_an_error_and_comes_first(healthy):
    for path in (healthy / "images").iterdir():
        path.unlink()
    diagnosis = examine(healthy)
    assert diagnosis.images == {"present": 0, "absent": 0, "missing": 200}
    assert diagnosis.findings[0].severity is Severity.ERROR
    assert "200 triples name a picture" in diagnosis.findings[0].text


def test_a_judge_of_safety_alone_lacks_grounding_and_cells_are_not_rare(triple, write):
    triples = [triple(number) for number in range(4)]
    verdicts = [
        *(Verdict(triple_id=f"t{n}", judge="guard", safety=Safety.SAFE) for n in range(3)),
        Verdict(triple_id="t3", judge="guard", state=VerdictState.UNPARSABLE),
    ]
    diagnosis = examine(write(triples, verdicts=verdicts))
    assert diagnosis.verdicts == {"guard": {"safe": 3, "unparsable": 1}}
    warnings = texts(diagnosis, Severity.WARNING)
    assert "judge 'guard' has no grounding label: that axis stays unknown" in warnings
    assert not found(diagnosis, "no safety label")
    assert not found(diagnosis, "verdicts of")
    assert found(diagnosis, "left 1 of 4 without an answer")
    assert found(diagnosis, "fewer than 50 judged triples for north (2), south (1)")


def test_a_vllm_that_a_judge_never_saw_counts_nought(triple, write):
    verdicts = [Verdict(triple_id="t0", judge="j", safety=Safety.SAFE)]
    diagnosis = examine(write([triple(0), triple(1)], verdicts=verdicts))
    assert found(diagnosis, "north (1), south (0)")


def test_rare_cells_are_named_with_their_counts(triple, write):
    verdict = Verdict(triple_id="t0", judge="j", safety=Safety.SAFE, grounding=Grounding.GROUNDED)
    diagnosis = examine(write([triple(0)], verdicts=[verdict]))
    assert found(diagnosis, "fewer than 20 verdicts of grounded_safe (1), grounded_unsafe (0)")


def test_what_is_odd_about_the_triples_is_told(triple, write):
    triples = [
        *(triple(n, response="Sorry.", item_id=f"i{n}") for n in range(3)),
        triple(3, response=" ", response_state=ResponseState.EMPTY, item_id="i3", vllm=""),
    ]
    diagnosis = examine(write(triples))
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


def test_how_a_judge_was_asked_is_told(triple, write):
    def vote(number, *, safety, digest):
        return Verdict(triple_id="t0", judge="j", vote=number, safety=safety, prompt_hash=digest)

    verdicts = [
        vote(0, safety=Safety.SAFE, digest="aa"),
        vote(1, safety=Safety.UNSAFE, digest="bb"),
    ]
    diagnosis = examine(write([triple(0), triple(1)], verdicts=verdicts))
    assert found(diagnosis, "judge 'j' was asked with 2 prompts under one name")
    assert found(diagnosis, "judge 'j' has tied votes on safety (1)")
    words = "has answered on 1 of 2 triples, 1 of them without an inclusion probability"
    assert found(diagnosis, words)
    assert found(diagnosis, "nsgauge plan")


def test_a_declared_draw_and_a_census_are_not_complained_of(triple, write):
    drawn = Verdict(triple_id="t0", judge="drawn", safety=Safety.SAFE, inclusion_probability=0.5)
    census = [Verdict(triple_id=f"t{n}", judge="all", safety=Safety.SAFE) for n in range(2)]
    diagnosis = examine(write([triple(0), triple(1)], verdicts=[drawn, *census]))
    assert not found(diagnosis, "nsgauge plan")
    assert not found(diagnosis, "prompts under one name")


def test_texts_that_would_be_read_in_part_are_counted(triple, write):
    # Of 70 tokens, 68 are for text: 8 windows take 544.
    lengths = [544, 545, 600, 1]
    triples = [triple(n, response="w " * length) for n, length in enumerate(lengths)]
    diagnosis = examine(write(triples), reader=WORDS)
    words = "2 of 4 triples take more than 8 windows of 70 tokens in the layout 'apart' of 'words'"
    assert found(diagnosis, words)
    assert found(diagnosis, "raise windows.max_windows")


def test_copies_and_leaks_are_told(triple, write, pictures):
    names, store = pictures
    # One picture under forty items; two prompts over sixty items without a picture.
    triples = [
        *(triple(n, item_id=f"i{n}", image=names[0]) for n in range(40)),
        *(triple(n, item_id=f"i{n}", prompt=f"p{n % 2}") for n in range(40, 100)),
        triple(100, item_id="i0", vllm="north", image=names[0]),
        triple(101, item_id="i0", vllm="north", image=names[0], response="one two 100"),
    ]
    diagnosis = examine(write(triples, image_root=store.root))
    assert texts(diagnosis, Severity.ERROR) == []
    for words in (
        "1 triples repeat another one under a new triple_id",
        "1 pictures lie under 40 items (such as b/i0, b/i1, b/i2): the split keeps",
        "2 prompts without a picture lie under 60 items (such as b/i40, b/i42, b/i44)",
        "2 of them on different sides",
        "40 of 100 items hang together by shared pictures",
    ):
        assert found(diagnosis, words), words


def test_a_prompt_about_several_pictures_is_a_note(triple, write, pictures):
    names, store = pictures
    triples = [triple(n, prompt="p", image=names[n // 2]) for n in range(100)]
    diagnosis = examine(write(triples, image_root=store.root))
    notes = texts(diagnosis, Severity.NOTE)
    assert any("1 prompts lie under 50 items" in note for note in notes)
    assert not found(diagnosis, "prompts without a picture")


def test_a_side_of_the_split_without_rows_is_named(triple, write, pictures):
    names, store = pictures
    # One picture for all: one group, and so one side.
    triples = [triple(n, image=names[0]) for n in range(100)]
    diagnosis = examine(write(triples, image_root=store.root))
    empty = [side for side, count in diagnosis.copies.sides.items() if not count]
    assert len(empty) == 3
    assert found(diagnosis, f"nothing to offer for {', '.join(empty)}")


def test_an_empty_folder_says_where_to_look(write):
    diagnosis = examine(write([]), reader=WORDS)
    assert diagnosis.response_words == {}
    assert diagnosis.texts is None
    assert "rejects.jsonl" in texts(diagnosis, Severity.ERROR)[0]
