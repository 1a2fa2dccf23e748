"""Real HTTP servers on loopback ports that answer like vLLM, like a bare OpenAI dialect, or badly."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass
class Reply:
    """Reply that a fake sends."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """Announce more bytes than are sent, then close."""
    delay: float = 0.0
    trickle: float = 0.0
    """Seconds between single bytes."""


class FakeEndpoint:
    """Serves `answer(path, body)` until the block ends, on any free port by default; remembers what it was sent."""

    def __init__(self, answer: Callable[[str, Body], Reply], port: int = 0) -> None:
        self.requests: list[tuple[str, Body]] = []
        self.keys: list[str | None] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def _answer(self, body: Body) -> None:
                outer.requests.append((self.path, body))
                outer.keys.append(self.headers.get("authorization"))
                outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                reply = answer(self.path.partition("?")[0], body)
                time.sleep(reply.delay)
                data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data) + (100 if reply.cut else 0)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    for byte in data if reply.trickle else ():
                        self.wfile.write(bytes([byte]))
                        time.sleep(reply.trickle)
                    self.wfile.write(b"" if reply.trickle else data)
                except OSError:
                    pass  # the client gave up

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> FakeEndpoint:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.die()

    def die(self) -> None:
        """Stop listening, as a server that crashed."""
        self._server.shutdown()
        self._server.server_close()

    def sent(self, path: str) -> list[Body]:
        """The bodies posted to a path that ends so."""
        return [body for at, body in self.requests if at.endswith(path)]


def completion(
    *texts: str, prompt: int = 7, done: int = 3, logprob: float | None = None, cached: int | None = None
) -> Body:
    """A well-formed chat completion."""
    choices = []
    for index, text in enumerate(texts):
        choice: Body = {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if logprob is not None:
            choice["logprobs"] = {"content": [{"token": t, "logprob": logprob} for t in text.split()]}
        choices.append(choice)
    usage: Body = {"prompt_tokens": prompt, "completion_tokens": done, "total_tokens": prompt + done}
    if cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    return {"object": "chat.completion", "model": "m", "choices": choices, "usage": usage}


def plain(path: str, body: Body) -> Reply:
    """A gateway that knows chat completions and nothing else, and ignores whatever it does not know."""
    if path == "/v1/models":
        return Reply({"object": "list", "data": [{"id": "m", "object": "model"}]})
    if path == "/v1/chat/completions":
        return Reply(completion("hello there"))
    return Reply({"error": {"message": "Not Found"}}, 404)


def tool_calls(*calls: tuple[str, Any], text: str | None = None) -> Body:
    """A message that calls tools, by their names and arguments."""
    made = [
        {"id": f"chatcmpl-tool-{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(calls)
    ]
    return {"role": "assistant", "content": text, "tool_calls": made}


TRIALS = ("Say hello.", "Call the tool keep with k = 7.")
"""By which messages a model is tried out."""
_TEMPLATE_END = 2


def _ids(text: str) -> list[int]:
    return [100 + byte for byte in text.encode()]


class Vllm:
    """Answers as vLLM 0.33 does, with a byte a token.

    Args:
        window: The model's window.
        schema: Whether `structured_outputs` constrains.
        scores: Whether `prompt_logprobs` is answered.
        calls: Makes the message of a turn with tools; None for a server that was started without a parser for them.
    """

    def __init__(
        self,
        window: int = 4096,
        *,
        schema: bool = True,
        scores: bool = True,
        calls: Callable[[Body], Body] | None = None,
    ) -> None:
        self.window = window
        self.schema = schema
        self.scores = scores
        self.calls = calls

    def prompt(self, body: Body) -> list[int]:
        """The tokens of a chat."""
        ids = [1, *_ids(json.dumps(body["tools"]))] if body.get("tools") else [1]
        for number, message in enumerate(body["messages"]):
            written = [call["function"] for call in message.get("tool_calls", ())]
            ids += [3, *_ids(message["content"] + "".join(each["name"] + each["arguments"] for each in written))]
            last = number == len(body["messages"]) - 1
            if not (last and body.get("continue_final_message")):
                ids += [_TEMPLATE_END, 4]
        return ids + ([5] if body.get("add_generation_prompt", True) else [])

    def __call__(self, path: str, body: Body) -> Reply:
        if path == "/v1/models":
            return Reply({"data": [{"id": "org/model", "max_model_len": self.window, "owned_by": "vllm"}]})
        if path == "/tokenize":
            ids = self.prompt(body) if "messages" in body else _ids(body["prompt"])
            return Reply({"count": len(ids), "max_model_len": self.window, "tokens": ids})
        if path == "/v1/chat/completions":
            return self._chat(body)
        if path == "/v1/completions":
            return self._completions(body)
        return Reply({"detail": "Not Found"}, 404)

    def _chat(self, body: Body) -> Reply:
        text = "lo there" if body.get("continue_final_message") else "hello"
        if self.schema and "structured_outputs" in body:
            allowed = body["structured_outputs"]["json"].get("properties", {})
            text = json.dumps({name: rule.get("enum", ["x"])[0] for name, rule in allowed.items()})
        n = body.get("n", 1)
        if body.get("tools"):
            return self._called(body)
        logprob = -0.5 if body.get("logprobs") else None
        done = n * len(text.split())
        return Reply(completion(*[text] * n, prompt=len(self.prompt(body)), done=done, logprob=logprob, cached=4))

    def _called(self, body: Body) -> Reply:
        if self.calls is None:
            said = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
            return Reply({"error": {"message": said, "type": "BadRequestError", "code": 400}}, 400)
        reply = completion("", prompt=len(self.prompt(body)), done=30)
        trial = body["messages"][0]["content"] in TRIALS
        message = tool_calls(("keep", '{"k": 7}')) if trial else self.calls(body)
        reply["choices"][0] |= {"message": message, "finish_reason": "tool_calls"}
        return Reply(reply)

    def _completions(self, body: Body) -> Reply:
        prompt = body["prompt"]
        choice: Body = {"text": "x", "index": 0, "finish_reason": "length"}
        if self.scores and "prompt_logprobs" in body:
            # Each token's log-probability tells which token it was; another likely token stands beside it.
            choice["prompt_logprobs"] = [
                None if i == 0 else {str(token): {"logprob": -token / 1000}, "999": {"logprob": -9.0}}
                for i, token in enumerate(prompt)
            ]
        return Reply({"choices": [choice], "usage": {"prompt_tokens": len(prompt), "completion_tokens": 1}})


class Faltering(Vllm):
    """A vLLM that does well while it is tried out; the questions that follow get `replies` first.

    Args:
        replies: What the first chat completions answer; None for a good answer.
        forever: What all later ones answer.
    """

    def __init__(self, *replies: Reply | None, forever: Reply | None = None) -> None:
        super().__init__()
        self.asked: list[Body] = []
        """The bodies of the questions."""
        self._replies, self._forever = replies, forever

    def _chat(self, body: Body) -> Reply:
        if body["messages"][0]["content"] in TRIALS:
            return super()._chat(body)
        self.asked.append(body)
        turn = len(self.asked) - 1
        reply = self._replies[turn] if turn < len(self._replies) else self._forever
        return reply or super()._chat(body)
