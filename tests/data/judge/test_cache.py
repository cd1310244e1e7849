import hashlib
import math
import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.data.judge.cache import Asked, default_answers, only_run, opened
from nsgauge.data.judge.reply import Reply, Token
from nsgauge.errors import JudgeError

REPLY = Reply(content="yes", finish_reason="stop")
FULL = Reply(
    content='{"a": "\u732b\U0001f600\u2028"}',
    refusal="no",
    finish_reason="length",
    input_tokens=3,
    output_tokens=0,
    model="m",
    structured=True,
    tokens=[Token("\u732b", {"\u732b": -0.25, "<0xE7>": -math.inf}), Token("", {})],
)

ADDS_AND_DIES = """
import os, signal, sys
from pathlib import Path
from nsgauge.data.judge.cache import Asked, opened
from nsgauge.data.judge.reply import Reply
with opened(Path(sys.argv[1])) as cache:
    for number in range(int(sys.argv[2])):
        asked = Asked(
            key=f"k{number}", vote=0, judge="j", prompt_hash="h", image_digest=None
        )
        cache.add(asked, reply=Reply(content=f"c{number}", finish_reason="stop"))
    os.kill(os.getpid(), signal.SIGKILL)
"""
ASKS_FOR_THE_LOCK = """
import sys
from pathlib import Path
from nsgauge.data.judge.cache import only_run
from nsgauge.errors import JudgeError
try:
    with only_run(Path(sys.argv[1]), judge=sys.argv[2]):
        print("free")
except JudgeError as error:
    print(error)
"""


def asked(key="k", vote=0):
    return Asked(key=key, vote=vote, judge="j", prompt_hash="h", image_digest=None)


def run(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.sqlite"


@pytest.mark.parametrize("reply", [REPLY, FULL, Reply(content=None, finish_reason="")])
def test_a_reply_comes_back_as_it_went_in(path, reply):
    with opened(path) as cache:
        cache.add(asked(), reply=reply)
        assert cache.reply("k", vote=0) == reply
    with opened(path) as cache:
        assert cache.reply("k", vote=0) == reply


@given(st.text(st.characters(exclude_categories=[])), st.none() | st.text(), st.floats())
def test_any_text_and_any_number_comes_back(tmp_path_factory, content, refusal, logprob):
    tokens = [Token(content[:1], {content[:1]: logprob})]
    reply = Reply(content=content, refusal=refusal, finish_reason="stop", tokens=tokens)
    path = tmp_path_factory.mktemp("answers") / "a.sqlite"
    with opened(path) as cache:
        cache.add(asked(), reply=reply)
        found = cache.reply("k", vote=0)
    assert found is not None
    assert found.tokens is not None

    # JSON joins a split surrogate pair, as every reader of the reply would.
    def units(text):
        return text.encode("utf-16", "surrogatepass")

    assert units(found.content) == units(content)
    assert found.refusal == refusal
    [value] = found.tokens[0].alternatives.values()
    assert value == logprob or (math.isnan(value) and math.isnan(logprob))


def test_answers_are_told_apart_by_key_and_vote(path):
    with opened(path) as cache:
        cache.add(asked("k", 1), reply=REPLY)
        assert cache.has("k", vote=1)
        assert cache.reply("k", vote=0) is None
        assert not cache.has("k", vote=0)
        assert cache.reply("l", vote=1) is None


def test_an_earlier_answer_stays(path):
    with opened(path) as cache:
        cache.add(asked(), reply=REPLY)
        cache.add(asked(), reply=FULL)
        assert cache.reply("k", vote=0) == REPLY


def test_what_was_added_survives_a_kill(path):
    died = run(ADDS_AND_DIES, path, 20)
    assert died.returncode == -signal.SIGKILL, died.stderr
    with opened(path) as cache:
        for number in range(20):
            wanted = Reply(content=f"c{number}", finish_reason="stop")
            assert cache.reply(f"k{number}", vote=0) == wanted


def test_every_answer_is_flushed_before_add_returns(path):
    with opened(path) as cache:
        cache.add(asked(), reply=REPLY)
        # Full: an fsync at every commit, so that a power cut costs nothing either.
        assert cache._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        with sqlite3.connect(path) as other:
            assert other.execute("SELECT COUNT(*) FROM answers").fetchone() == (1,)
        other.close()


def test_processes_may_add_side_by_side(path):
    adds = ADDS_AND_DIES.replace('f"k{number}"', 'f"{os.getpid()}-{number}"')
    command = [sys.executable, "-c", adds, str(path), "30"]
    running = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in running] == [-signal.SIGKILL] * 2
    with opened(path) as cache:
        for process in running:
            assert all(cache.has(f"{process.pid}-{n}", vote=0) for n in range(30))


def test_the_file_is_made_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "answers.sqlite"
    with opened(path):
        pass
    assert path.exists()


def test_another_format_is_refused(path):
    with opened(path):
        pass
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 2")
    other.close()
    with pytest.raises(JudgeError, match=r"answers\.sqlite.*format 2, wanted 1"), opened(path):
        pass


def test_what_is_no_such_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Some notes of mine, more than a header long. " * 50)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(JudgeError, match="not a database"), opened(path):
        pass
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_a_folder_or_a_file_in_the_way_is_an_error_of_ours(tmp_path):
    with pytest.raises(JudgeError, match="name another"), opened(tmp_path):
        pass
    (tmp_path / "file").touch()
    inside = tmp_path / "file" / "answers.sqlite"
    with pytest.raises(JudgeError, match="name another"), opened(inside):
        pass
    with pytest.raises(JudgeError, match="name another"), only_run(inside, judge="j"):
        pass


def test_errors_of_the_block_pass_through(path):
    with pytest.raises(OSError, match="mine"), opened(path):
        raise OSError("mine")


def test_one_run_at_a_time_asks_a_judge(path):
    with only_run(path, judge="one"):
        held = run(ASKS_FOR_THE_LOCK, path, "one").stdout
        assert "another run is asking 'one'" in held
        assert run(ASKS_FOR_THE_LOCK, path, "two").stdout == "free\n"
    assert run(ASKS_FOR_THE_LOCK, path, "one").stdout == "free\n"


def test_a_run_that_was_killed_leaves_no_lock(path):
    dies = ASKS_FOR_THE_LOCK.replace(
        'print("free")', "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert run(dies, path, "one").returncode == -signal.SIGKILL
    with only_run(path, judge="one"):
        pass


def test_answers_lie_among_the_data_not_the_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_answers() == tmp_path / "nsgauge" / "answers.sqlite"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_answers() == tmp_path / ".local" / "share" / "nsgauge" / "answers.sqlite"
    assert not os.listdir(tmp_path)  # noqa: PTH208 - nothing is made by asking
