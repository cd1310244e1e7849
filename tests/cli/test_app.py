"""The command line: what it prints, its exit codes, and one line for every mistake."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version

import pytest

from nsgauge.data import doctor
from nsgauge.data.importers.registry import FORMATS
from nsgauge.data.tables import read_triples, read_verdicts
from nsgauge.eval.scoring.shards import read_scores
from nsgauge.train.recipe import RECIPES

ROWS = [
    ["id", "question", "answer", "model", "harm"],
    ["a", "Is it edible?", "No, it is poisonous.", "one", "no"],
    ["b", "Is it edible?", "Yes, [bold]enjoy[/bold].", "two", "yes"],
]
MAP = [
    *("--map", "id=triple_id", "--map", "question=prompt", "--map", "answer=response"),
    *("--map", "model=vllm", "--map", "harm=safety", "--map", '"me"=judge'),
    *("--label", "harm:yes=unsafe", "--label", "harm:no=safe"),
]


def table(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture
def source(tmp_path):
    return table(tmp_path / "rows.csv", ROWS)


def test_the_version_is_printed(nsgauge):
    told = nsgauge("--version")
    assert (told.code, told.out.strip()) == (0, version("nsgauge"))


def test_the_lists_need_no_other_argument(nsgauge):
    formats, recipes = nsgauge("import", "--list"), nsgauge("train", "--list")
    assert formats.code == recipes.code == 0
    names = [line.split()[0] for line in formats.out.splitlines()]
    assert names == sorted(FORMATS)
    assert [line.split()[0] for line in recipes.out.splitlines()] == RECIPES.names()
    assert "The built-in sample world" in recipes.out


COMMANDS = ["demo", "import", "doctor", "plan", "judge", "train", "score", "report", "export"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(nsgauge, command):
    told = nsgauge(command, "--help")
    assert told.code == 0
    assert "Usage" in told.out
    assert command in nsgauge("--help").out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--actors", "3"), "are of --engine ray"),
        (("--gpus-per-actor", "1"), "are of --engine ray"),
        (("--engine", "ray", "--estimate"), "--estimate times one engine here"),
    ],
)
def test_an_option_of_the_other_engine_is_refused_before_any_work(nsgauge, tmp_path, words, named):
    told = nsgauge("score", "none", "--data", "none", "--out", tmp_path / "scores", *words)
    assert told.code == 2
    assert named in told.err
    assert not (tmp_path / "scores").exists()


def test_help_does_not_load_torch():
    code = (
        "import sys\n"
        "from nsgauge.cli.app import main\n"
        "sys.argv = ['nsgauge', 'score', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    print('torch' in sys.modules, 'pyarrow' in sys.modules)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "False False"


def test_python_m_runs_it_and_shows_no_traceback(tmp_path):
    told = subprocess.run(
        [sys.executable, "-m", "nsgauge", "doctor", tmp_path / "nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 2
    assert told.stdout == ""
    assert len(told.stderr.splitlines()) == 1


def test_a_table_is_imported_and_examined(nsgauge, source, tmp_path):
    out = tmp_path / "data"
    told = nsgauge("import", "table", source, "--out", out, *MAP)
    assert told.code == 0, told.err
    assert "2 triples, 2 verdicts, 0 pictures" in told.out
    assert read_triples(out)["vllm"].to_pylist() == ["one", "two"]
    assert read_verdicts(out)["safety"].to_pylist() == ["safe", "unsafe"]
    told = nsgauge("doctor", out)
    assert f"{out}: 2 triples" in told.out.replace("\n", "")
    assert "judge me" in told.out


def test_doctor_exits_with_1_on_errors_and_0_on_warnings(nsgauge, sample, monkeypatch):
    assert nsgauge("doctor", sample).code == 0
    finding = doctor.Finding(doctor.Severity.ERROR, "all [red]is lost[/red]")
    examine = doctor.examine
    monkeypatch.setattr(
        doctor, "examine", lambda data, **_: replace(examine(data), findings=[finding])
    )
    told = nsgauge("doctor", sample)
    assert told.code == 1
    assert "error: all [red]is lost[/red]" in told.out


def test_a_report_of_judges_alone_needs_no_scores(nsgauge, sample, tmp_path):
    told = nsgauge("report", "--data", sample, "--out", tmp_path / "report")
    assert told.code == 0, told.err
    assert (tmp_path / "report" / "report.html").is_file()
    assert str(tmp_path / "report" / "report.html") in told.out.replace("\n", "")


def test_the_way_from_data_to_report(nsgauge, refused, sample, recipe, tmp_path):
    bundle, scores = tmp_path / "bundle", tmp_path / "scores"
    given = ("--data", sample, "--out")
    told = nsgauge("train", recipe, "fusion.heads=2", *given, bundle)
    assert told.code == 0, told.err
    assert "not_grounded" in told.out
    words = ("score", bundle, "--controls-rows", 0, "--cache", tmp_path / "cache", *given, scores)
    told = nsgauge(*words, "--device", "cpu")
    assert told.code == 0, told.err
    assert "128 rows in 1 shards" in told.out
    assert not (scores / "controls").exists()
    assert read_scores(scores).num_rows == 128
    told = nsgauge("report", "--scores", scores, *given, tmp_path / "report")
    assert told.code == 0, told.err
    assert "unseen rows scored; reference: sample-judge" in told.out

    assert "--overwrite" in refused("score", bundle, *given, scores)
    assert "holds a bundle" in refused("train", recipe, *given, bundle)
    assert "nobody" in refused(
        *("report", "--scores", scores, "--reference", "nobody", *given, tmp_path / "other")
    )
    assert "toaster" in refused(
        *("score", bundle, "--device", "toaster", *given, tmp_path / "elsewhere")
    )
    next(scores.glob("scores-*.parquet")).unlink()
    message = refused("report", "--scores", scores, *given, tmp_path / "other")
    assert "missing or changed" in message

    manifest = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps({**manifest, "format": 99}))
    assert "bundle format 99" in refused("score", bundle, *given, tmp_path / "other")
    shutil.rmtree(bundle)
    assert str(bundle) in refused("score", bundle, *given, tmp_path / "other")


def test_an_unknown_format_is_answered_with_the_known_ones(refused, source, tmp_path):
    message = refused("import", "xlsx", source, "--out", tmp_path / "data")
    assert "known: auto, " in message
    assert "table" in message


def test_a_source_that_is_not_there_is_named(refused, tmp_path):
    message = refused("import", "table", tmp_path / "no.csv", "--out", tmp_path / "data")
    assert "no.csv" in message


def test_a_source_of_another_kind_is_named(refused, tmp_path):
    (tmp_path / "rows.xls").write_bytes(b"PK")
    message = refused("import", "table", tmp_path / "rows.xls", "--out", tmp_path / "data")
    assert ".csv" in message
    table(tmp_path / "rows.csv", [["prompt", "response"], ["p", "r"]])
    (tmp_path / "rows.csv").write_bytes(b"prompt,response\n\xff\xfe,r\n")
    message = refused("import", "table", tmp_path / "rows.csv", "--out", tmp_path / "data")
    assert "UTF-8" in message


def test_a_column_that_is_not_there_is_answered_with_those_that_are(refused, source, tmp_path):
    words = ("import", "table", source, "--out", tmp_path / "data", "--map", "question=prompt")
    message = refused(*words, "--map", "reply=response")
    assert "reply" in message
    assert "answer" in message
    assert "column=field" in refused(*words, "--map", "answer")
    assert "nonsense" in refused(*words, "--map", "answer=nonsense")
    assert "maybe" in refused(*words, "--map", "answer=response", "--label", "harm:yes=maybe")
    assert not (tmp_path / "data").exists()


def test_an_id_that_comes_twice_is_named(refused, tmp_path):
    source = table(tmp_path / "rows.csv", [*ROWS, ["b", "Which?", "That.", "two", "no"]])
    message = refused("import", "table", source, "--out", tmp_path / "data", *MAP)
    assert "more than once" in message
    assert "the first: b; map columns" in message


def test_an_output_that_is_taken_is_left_alone(refused, source, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").write_text("mine")
    for more in ((), ("--overwrite",)):
        message = refused("import", "table", source, "--out", tmp_path / "data", *MAP, *more)
        assert "thesis.tex" in message
    assert (tmp_path / "data" / "thesis.tex").read_text() == "mine"


def test_an_output_under_a_file_is_one_line(refused, source, sample, tmp_path):
    (tmp_path / "file").write_text("mine")
    under = tmp_path / "file" / "out"
    assert "file" in refused("import", "table", source, "--out", under, *MAP)
    assert "file" in refused("report", "--data", sample, "--out", under)
    assert "file" in refused("report", "--data", sample, "--out", tmp_path / "file")


def test_a_demo_is_refused_where_something_lies(refused, tmp_path):
    (tmp_path / "mine").write_text("mine")
    assert "--overwrite" in refused("demo", "--out", tmp_path)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["lora.rnak=4"], "rank"),
        (["lora.rank=four"], "lora.rank"),
        (["lora.rank"], "section.key=value"),
        (["name.first=x"], "name.first"),
        (["seed=[1"], "YAML"),
        (["preset=nothing"], "pocket"),
        (["split.test=2"], "split"),
    ],
)
def test_a_wrong_override_is_named(refused, recipe, sample, tmp_path, overrides, named):
    message = refused("train", recipe, *overrides, "--data", sample, "--out", tmp_path / "bundle")
    assert named in message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name: [", "YAML"),
        ("- a list", "key: value"),
        ("name: tiny\nteachers: {}\n", "teachers"),
        ("\x00", "YAML"),
        ("name: tiny", "teacher"),
    ],
)
def test_a_wrong_recipe_is_named(refused, recipe, sample, tmp_path, text, named):
    recipe.write_text(text)
    message = refused("train", recipe, "--data", sample, "--out", tmp_path / "bundle")
    assert str(recipe) in message
    assert named in message


def test_an_unknown_recipe_is_answered_with_the_shipped_ones(refused, sample, tmp_path):
    for name in ("no-such", tmp_path / "no.yaml"):
        message = refused("train", name, "--data", sample, "--out", tmp_path / "bundle")
        assert "sample-pocket" in message


def test_a_missing_data_folder_is_named(refused, recipe, tmp_path):
    nowhere = tmp_path / "nowhere"
    assert "nowhere" in refused("doctor", nowhere)
    assert "nowhere" in refused("report", "--data", nowhere, "--out", tmp_path / "report")
    assert "nowhere" in refused("train", recipe, "--data", nowhere, "--out", tmp_path / "b")
    assert "nowhere" in refused("score", nowhere, "--data", nowhere, "--out", tmp_path / "s")


def test_a_table_that_is_damaged_is_named(refused, sample, tmp_path):
    (tmp_path / "data").mkdir()
    for content in (b"", b"PAR1PAR1", (sample / "triples.parquet").read_bytes()[:-9]):
        (tmp_path / "data" / "triples.parquet").write_bytes(content)
        for words in (("doctor",), ("report", "--out", tmp_path / "report", "--data")):
            assert "triples.parquet" in refused(*words, tmp_path / "data")


def test_settings_of_a_scoring_have_bounds(refused, sample, tmp_path):
    words = ("score", tmp_path / "bundle", "--data", sample, "--out", tmp_path / "scores")
    assert "rows_per_shard" in refused(*words, "--rows-per-shard", 0)
    assert "controls_rows" in refused(*words, "--controls-rows", -1)


def test_a_report_of_an_unfinished_scoring_says_what_to_do(refused, sample, tmp_path):
    message = refused(
        *("report", "--data", sample, "--scores", tmp_path, "--out", tmp_path / "report")
    )
    assert "nsgauge score" in message


def test_stopping_by_hand_says_how_to_go_on(nsgauge, sample, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", interrupted)
    told = nsgauge("doctor", sample)
    assert told.code == 130
    assert "started again as before, it goes on" in told.err


def test_a_bug_keeps_its_traceback(nsgauge, sample, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(doctor, "examine", broken)
    with pytest.raises(ZeroDivisionError):
        nsgauge("doctor", sample)
