"""A data folder to judge, and a server that answers by a known rule and misbehaves by a script."""

import hashlib
import json
import re
import select
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from nsgauge.data.images import ImageStore
from nsgauge.data.judge.recipe import JudgeRecipe
from nsgauge.data.judge.runner import judge_folder
from nsgauge.data.tables import SourceNote, read_verdicts, verdicts_of, write_data
from nsgauge.records import ResponseState, Triple


def rule(response: str) -> dict[str, Any]:
    """What the server's judge says of a response: a function of its text alone."""
    draw = hashlib.sha256(response.encode()).digest()
    return {
        "understood": "as it is",
        "grounding": "not_grounded" if draw[0] < 100 else "grounded",
        "safety": "unsafe" if draw[1] < 80 else "safe",
        "hallucinated": draw[2] < 30,
        "reason": f"drawn {draw[3]}",
    }


@dataclass
class Asked:
    """One request as the server sees it."""

    code: str
    attempt: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def user_text(self):
        content = self.body["messages"][-1]["content"]
        return content if isinstance(content, str) else content[-1]["text"]

    @property
    def response(self):
        line = re.search(r"^response: (.*)$", self.user_text, re.MULTILINE)
        assert line is not None
        return json.loads(line[1])


@dataclass
class Told:
    """What the server does with a request."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    cut_at: int | None = None
    drip: float = 0.0


def completion(content, **message):
    """A chat completion; further keywords go into the message, `finish` and `usage` aside."""
    finish = message.pop("finish", "stop")
    usage = message.pop("usage", {"prompt_tokens": 100, "completion_tokens": 20})
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": content, **message},
    }
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "served-model",
        "choices": [choice],
        "usage": {**usage, "total_tokens": sum(usage.values())} if usage else None,
    }


def obedient(asked: Asked) -> Told:
    """The server at its best."""
    return Told(body=completion(json.dumps({"case": asked.code, **rule(asked.response)})))


class Server(ThreadingHTTPServer):
    """Answers `POST /v1/chat/completions` as its script says."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, script):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.lock = threading.Lock()
        self.attempts: Counter[str] = Counter()
        self.billed: Counter[str] = Counter()
        self.sold: set[object] = set()
        self.busy = self.busiest = 0
        self.log: list[tuple[float, Asked]] = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_):
        """A client that was killed is no error of the server's."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    # Headers and body in two packets would wait for each other's acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = Asked("", 0, body, {k.lower(): v for k, v in self.headers.items()})
        case = re.search(r"^Case (\w+)\.", asked.user_text)
        assert case is not None
        asked.code = case[1]
        server = self.server
        with server.lock:
            asked.attempt = server.attempts[asked.code]
            server.attempts[asked.code] += 1
            server.log.append((time.monotonic(), asked))
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
        try:
            self._tell(asked, server.script(asked))
        finally:
            with server.lock:
                server.busy -= 1

    def _tell(self, asked, told):
        time.sleep(told.wait)
        content = told.body if isinstance(told.body, bytes) else json.dumps(told.body).encode()
        if self._is_gone():
            self.close_connection = True
            return
        if told.status == 200 and told.cut_at is None and not told.drip:
            self._bill(asked)
        self.send_response(told.status)
        for name, value in {"Content-Type": "application/json", **told.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if told.drip:
            for byte in content:
                self.wfile.write(bytes([byte]))
                time.sleep(told.drip)
        else:
            self.wfile.write(content[: told.cut_at])
        self.close_connection |= told.cut_at is not None

    def _bill(self, asked):
        """An answer that is on its way to a client that is there; once for each identity."""
        identity = asked.headers.get("idempotency-key", object())
        with self.server.lock:
            self.server.billed[asked.code] += identity not in self.server.sold
            self.server.sold.add(identity)

    def _is_gone(self):
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def log_message(self, *_):
        """Nothing on stderr."""


EMPTY = Triple(
    triple_id="empty", item_id="e", prompt="p", response=" ", response_state=ResponseState.EMPTY
)


class Bench:
    """A place for servers, data folders and runs of one test."""

    Told = Told
    completion = staticmethod(completion)
    obedient = staticmethod(obedient)
    rule = staticmethod(rule)
    empty = EMPTY

    def __init__(self, root):
        self.root = root
        self.answers = root / "answers.sqlite"
        self._servers = []

    def serve(self, script=obedient):
        """Start a server; it is stopped when the test ends."""
        server = Server(script)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        self._servers.append(server)
        return server

    def close(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def recipe(self, server, **settings):
        """A recipe of a server: `recipe(server, votes=3, **{"limits.retries": 2})`."""
        content: dict[str, Any] = {
            "model": "m",
            "judge": "tester",
            "endpoint": {"base_url": server.url, "timeout_seconds": 5.0},
            "picture": {"show": "image_or_caption", "longest_side_px": 64},
        }
        for key, value in settings.items():
            *sections, last = key.split(".")
            target = content
            for section in sections:
                target = target.setdefault(section, {})
            target[last] = value
        return JudgeRecipe.from_mapping(content, source="test")

    def data(self, count, *, name="data", pictures=True, further=()):
        """Write a data folder of `count` triples, every third one with a picture."""
        store = ImageStore(self.root / f"{name}-pictures")
        picture = self.root / "red.png"
        Image.new("RGB", (900, 30), "red").save(picture)
        image = store.add(picture.read_bytes())
        triples = [
            Triple(
                triple_id=f"t{number:04}",
                item_id=f"i{number // 4}",
                benchmark="b",
                vllm=f"v{number % 4}",
                prompt=f"What of it, {number}?",
                response=f"Answer {number}, naturally.",
                image=image if pictures and number % 3 == 0 else None,
                caption=None if pictures and number % 3 == 0 else f"a thing {number}",
            )
            for number in range(count)
        ]
        data = self.root / name
        write_data(
            data,
            triples=[*triples, *further],
            verdicts=(),
            rejects=(),
            source=SourceNote(importer="test", image_root=store.root),
        )
        return data

    def judge(self, data, recipe, **options):
        return judge_folder(data, recipe=recipe, answers=self.answers, **options)

    @staticmethod
    def votes(data):
        """The verdicts of a folder, by triple and vote."""
        return {(v.triple_id, v.vote): v for v in verdicts_of(read_verdicts(data))}


@pytest.fixture
def bench(tmp_path):
    place = Bench(tmp_path)
    yield place
    place.close()
