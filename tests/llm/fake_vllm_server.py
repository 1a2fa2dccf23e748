"""A program that is started like vLLM's server and behaves by the name of its model.

``well``: serves. ``slow``: serves after half a second. ``dies``: logs what a failing engine logs, and ends. ``hangs``:
logs a line and never serves. ``stubborn``: serves, and does not end when it is told to. ``busy``: its port is taken,
the first time. ``nested``, ``large``, ``endless``: its list of models is that, the first time. A message "crash" kills
it. Each has a child of its own, as vLLM's engine is one. ``/seen`` tells how it was started and what it was sent.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from fake_endpoint import Body, FakeEndpoint, Reply, Vllm

ODD = {"nested": Reply(b"[" * 100_000), "large": Reply(b" " * 2**23), "endless": Reply(b" " * 1000, trickle=0.1)}
FAILURE = """\
INFO 11-29 04:02:30 [api_server.py:1900] vLLM API server version 0.33.0
WARNING 11-29 04:02:31 [importing.py:20] ImportError: no triton: kernels are slower
(EngineCore_DP0 pid=77) ERROR 11-29 04:02:34 [core.py:866] EngineCore failed to start.
(EngineCore_DP0 pid=77) ERROR 11-29 04:02:34 [core.py:866] Traceback (most recent call last):
(EngineCore_DP0 pid=77) ERROR 11-29 04:02:34 [core.py:866]   File "core.py", line 1, in run
(EngineCore_DP0 pid=77) ERROR 11-29 04:02:34 [core.py:866] ValueError: No memory left for the cache blocks.
(APIServer pid=70) Traceback (most recent call last):
(APIServer pid=70)   File "api_server.py", line 1, in <module>
(APIServer pid=70) RuntimeError: Engine core initialization failed. See root cause above.
"""


def main() -> None:
    parser = argparse.ArgumentParser("api_server.py")
    for name in ("model", "served-model-name", "host", "dtype"):
        parser.add_argument(f"--{name}")
    for name in ("port", "max-model-len"):
        parser.add_argument(f"--{name}", type=int, default=4096)
    for name in ("enable-prompt-tokens-details", "enforce-eager"):
        parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction)
    parser.add_argument("--started", type=Path)
    args = parser.parse_args(sys.argv[3:])  # after -m MODULE
    print(f"non-default args: {vars(args)}", flush=True)
    if args.started:
        with args.started.open("a") as started:
            started.write(f"{os.getpid()}\n")
    if args.model == "dies":
        sys.exit(FAILURE)
    if args.model == "busy" and len(args.started.read_text().split()) == 1:
        sys.exit("OSError: [Errno 98] Address already in use")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(f"engine {child.pid}", flush=True)
    if args.model == "hangs":
        time.sleep(600)
    if args.model == "slow":
        time.sleep(0.5)
    if args.model == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(args, child.pid)


def serve(args: argparse.Namespace, child: int) -> None:
    vllm = Vllm(args.max_model_len)

    def answer(path: str, body: Body) -> Reply:
        if any(message["content"] == "crash" for message in body.get("messages", ())) and "n" in body:
            os.kill(os.getpid(), signal.SIGKILL)
        reply = vllm(path, body)
        if path == "/v1/models" and args.model in ODD:
            return ODD.pop(args.model)
        if path == "/v1/models":
            reply.body["data"][0]["id"] = args.served_model_name
        if path == "/seen":
            pids, environment = [os.getpid(), child], dict(os.environ)
            reply = Reply({"pids": pids, "words": sys.argv, "environment": environment, "headers": server.headers})
        return reply

    with FakeEndpoint(answer, args.port) as server:
        threading.Event().wait()


if __name__ == "__main__":
    main()
