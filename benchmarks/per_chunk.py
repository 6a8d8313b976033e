"""
What one chunk costs: the whole of llm_kit against the loop that people write by hand.

    python benchmarks/per_chunk.py [--chunks 20000] [--rounds 7] [--json]

Each contender reads the same answer from a server in another process and ends with its text:

- loop: httpx, ``iter_lines``, ``json.loads`` and ``text +=``, as guides tell people to write it.
- llm_kit: `LLMClient.chat_stream` under a `StreamInterrupter`, whose content is read at the end.
- openai: the SDK's ``create(stream=True)``; left out if it is not installed.

Counted is the CPU time of this process alone, so waiting is free. The server sends as fast as
it can, with one event or sixteen in an HTTP chunk and a write. Medians of interleaved rounds;
the ratios travel to other machines, the microseconds do not.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import parse_headers
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs in a checkout as it is

from llm_kit import AsyncLLMClient, LLMClient, StreamInterrupter

try:
    import openai
except ImportError:
    openai = None
    print("openai is not installed: left out", file=sys.stderr)

WORDS = (" the", " stream", " of", " tokens", ",", " naïve", " and", " “quoted”")
MESSAGES = [{"role": "user", "content": "Hello"}]
REQUEST: dict[str, Any] = {"model": "m", "messages": MESSAGES, "stream": True}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = (  # 330 bytes, as OpenAI sends them
    'data: {"id":"chatcmpl-C4kKPUqzmYcBHbZKHsXcBWbDXRnSG","object":"chat.completion.chunk",'
    '"created":1757000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default",'
    '"system_fingerprint":"fp_8bda4d3a2c","choices":[{"index":0,"delta":%s,"logprobs":null,'
    '"finish_reason":%s}],"usage":null,"obfuscation":"tXk3vQ9b"}\n\n'
)
BODIES: dict[int, list[bytes]] = {}


def body(words: list[str], per_write: int) -> list[bytes]:
    events = [EVENT % (json.dumps({"content": word}), "null") for word in words]
    events += [EVENT % ("{}", '"stop"'), "data: [DONE]\n\n"]
    writes = ["".join(events[at : at + per_write]) for at in range(0, len(events), per_write)]
    return [HEAD, *(b"%x\r\n%b\r\n" % (len(w), w.encode()) for w in writes), b"0\r\n\r\n"]


class Answer(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        while line := self.rfile.readline():
            self.rfile.read(int(parse_headers(self.rfile)["content-length"]))
            self.wfile.writelines(BODIES[int(line.split(b"/")[1])])


def serve(words: list[str]) -> None:
    """Be the server until standard input ends, as it does with the process that holds it."""
    BODIES.update({per_write: body(words, per_write) for per_write in (1, 16)})
    listener = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer)
    listener.daemon_threads = True
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    print(listener.server_address[1], flush=True)
    sys.stdin.read()


@contextmanager
def server(chunks: int) -> Iterator[str]:
    command = [sys.executable, __file__, "--chunks", str(chunks), "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"


def sync_contenders(stack: ExitStack) -> dict[str, Callable[[str], Any]]:
    http = stack.enter_context(httpx.Client())

    def loop(base_url: str) -> str:
        text = ""
        with http.stream("POST", f"{base_url}/chat/completions", json=REQUEST) as response:
            for line in response.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    text += json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
        return text

    def llm_kit(base_url: str) -> str:
        interrupter = StreamInterrupter()
        client = LLMClient(base_url, "key", "m", http_client=http)
        for _ in interrupter.wrap(client.chat_stream(MESSAGES)):
            pass
        return interrupter.content

    def sdk(base_url: str) -> str:
        text = ""
        for chunk in made.with_options(base_url=base_url).chat.completions.create(**REQUEST):
            text += chunk.choices[0].delta.content or ""
        return text

    reads = {"loop": loop, "llm_kit": llm_kit}
    if openai is not None:
        made = stack.enter_context(openai.OpenAI(api_key="key"))
        reads["openai"] = sdk
    return reads


def async_contenders(stack: ExitStack) -> dict[str, Callable[[str], Any]]:
    run = stack.enter_context(asyncio.Runner()).run
    http = httpx.AsyncClient()
    stack.callback(lambda: run(http.aclose()))

    async def loop(base_url: str) -> str:
        text = ""
        async with http.stream("POST", f"{base_url}/chat/completions", json=REQUEST) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    text += json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
        return text

    async def llm_kit(base_url: str) -> str:
        interrupter = StreamInterrupter()
        client = AsyncLLMClient(base_url, "key", "m", http_client=http)
        async for _ in interrupter.wrap(client.chat_stream(MESSAGES)):
            pass
        return interrupter.content

    async def sdk(base_url: str) -> str:
        text = ""
        at_url = made.with_options(base_url=base_url)
        async for chunk in await at_url.chat.completions.create(**REQUEST):
            text += chunk.choices[0].delta.content or ""
        return text

    reads: dict[str, Any] = {"loop": loop, "llm_kit": llm_kit}
    if openai is not None:
        made = openai.AsyncOpenAI(api_key="key")
        stack.callback(lambda: run(made.close()))
        reads["openai"] = sdk
    return {name: lambda url, read=read: run(read(url)) for name, read in reads.items()}


def measure(words: list[str], rounds: int) -> Iterator[dict[str, Any]]:
    costs: dict[tuple[str, int, str], list[float]] = {}
    with ExitStack() as stack:
        url = stack.enter_context(server(len(words)))
        colours = {"sync": sync_contenders(stack), "async": async_contenders(stack)}
        cells = list(product(colours, (1, 16), colours["sync"]))
        for turn in range(rounds + 1):
            for colour, per_write, name in cells:
                gc.collect()
                began = time.process_time()
                text = colours[colour][name](f"{url}/{per_write}")
                cost = (time.process_time() - began) / len(words) * 1e6
                assert text == "".join(words), f"{colour} {name} read something else"
                if turn:  # the first one warms up
                    costs.setdefault((colour, per_write, name), []).append(cost)
    for (colour, per_write, name), took in costs.items():
        ratios = [a / b for a, b in zip(took, costs[colour, per_write, "loop"], strict=True)]
        row = {"colour": colour, "per_write": per_write, "contender": name}
        yield {**row, "us": median(took), "ratio": median(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU a chunk against the hand-written loop")
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    words = [WORDS[place % len(WORDS)] for place in range(options.chunks)]
    if options.serve:
        serve(words)
    elif options.json:
        print(json.dumps(list(measure(words, options.rounds)), indent=2))
    else:
        print(f"{'CPU a chunk':14}{'events a write':>15}{'us':>9}{'x loop':>9}")
        for row in measure(words, options.rounds):
            print("{colour:6}{contender:8}{per_write:15}{us:9.2f}{ratio:9.2f}".format(**row))


if __name__ == "__main__":
    main()
