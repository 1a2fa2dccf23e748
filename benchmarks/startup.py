"""Seconds from typing a command to its answer, as whole processes: `search`, and `ask` of a model that answers at once.

*pass*: ``python -c pass``, the least that any program in Python takes. The others are the commands of the first
column, on the shipped corpus; the model is a server beside them that answers in a millisecond, so that what is left is
the time of ragscale: imports, opening the index, the query's vector, the steps of the mode. *cpu* is the processor time
of the process, user and system, which a busy machine changes less than *wall*. Commands take turns; medians and ratios
to *pass*.

    python benchmarks/startup.py --index INDEX --runs 9
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parents[1] / "corpora" / "elements" / "passages.jsonl"
QUESTION = "Which optical drawing aid did the discoverer of rhodium invent?"
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
    "OPENAI_API_KEY": ""
}
"""Modules are compiled once, by the first run, as they are where people install a package."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, help="an index with vectors (default: the shipped corpus, indexed anew)")
    parser.add_argument("--runs", type=int, default=9, help="runs of each command (default: 9)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    with tempfile.TemporaryDirectory() as work:
        index = options.index or build(Path(work) / "index")
        model = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
        try:
            assert model.stdout is not None
            url = f"openai:http://127.0.0.1:{model.stdout.readline().strip()}/v1#instant"
            result = measure(commands(index, url), options.runs)
        finally:
            model.terminate()
            model.wait()
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{'command':44} {'wall':>6} {'cpu':>6} {'ratio of cpu to pass':>21}")
    for name, row in result.items():
        print(f"{name:44} {row['wall']:6.2f} {row['cpu']:6.2f} {row['ratio']:21.0f}")


def build(folder: Path) -> Path:
    """Index the shipped corpus in a process of its own."""
    command = [sys.executable, "-m", "ragscale", "index", "build", str(SHIPPED), "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def commands(index: Path, llm: str) -> dict[str, list[str]]:
    """The commands by the names that the table shows."""
    ragscale = [sys.executable, "-m", "ragscale"]
    search, ask = [*ragscale, "search", str(index), QUESTION], [*ragscale, "ask", str(index), QUESTION, "--llm", llm]
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "ragscale --version": [*ragscale, "--version"],
        "ragscale search --how bm25": [*search, "--how", "bm25"],
        "ragscale search (hybrid)": search,
        "ragscale ask --mode once --how bm25": [*ask, "--mode", "once", "--how", "bm25"],
        "ragscale ask --mode once (hybrid)": [*ask, "--mode", "once"],
        "ragscale ask (chain, hybrid)": ask,
    }


def measure(commands: dict[str, list[str]], runs: int) -> dict[str, dict[str, float]]:
    """Medians of seconds of each command, after one run that warms the files."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            spent = once(command)
            if turn:
                seconds[name].append(spent)
    least = statistics.median(cpu for _, cpu in seconds["python -c pass"])
    rows = {}
    for name, pairs in seconds.items():
        wall, cpu = (statistics.median(pair[place] for pair in pairs) for place in (0, 1))
        rows[name] = {"wall": wall, "cpu": cpu, "ratio": cpu / least, "runs": runs}
    return rows


def once(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one run of a command; ends this program where the command fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=_ENVIRONMENT)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def serve() -> None:
    """Serve a model that answers at once, at a free port, which is printed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Instant)
    print(server.server_address[1], flush=True)
    server.serve_forever()


class Instant(BaseHTTPRequestHandler):
    """A model of the OpenAI dialect: plans one query, then none; else answers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Name the model."""
        self._send({"object": "list", "data": [{"id": "instant", "max_model_len": 32_768}]})

    def do_POST(self) -> None:
        """Complete a chat."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "messages" not in body:
            self.send_error(404)
            return
        text = self._text(body["messages"])
        usage = {"prompt_tokens": len(str(body["messages"])) // 4, "completion_tokens": len(text) // 4 + 1}
        usage["total_tokens"] = sum(usage.values())
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        self._send({"id": "1", "object": "chat.completion", "model": "instant", "choices": [choice], "usage": usage})

    def log_message(self, format: str, *args: Any) -> None:
        """Be silent."""

    def _text(self, messages: list[dict[str, str]]) -> str:
        said = str(messages[-1]["content"])
        if '"queries"' in str(messages[0]["content"]):
            queries = [] if "who found rhodium" in said else ["who found rhodium"]
            return json.dumps({"known": "", "missing": "who found it" if queries else "nothing", "queries": queries})
        if "JSON" in str(messages[0]["content"]):
            return json.dumps({"answer": "camera lucida", "documents": [1]})
        return "William Hyde Wollaston"

    def _send(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    main()
