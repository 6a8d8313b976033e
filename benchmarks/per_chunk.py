"""
What one chunk costs: the whole of llm_kit against the loop that people write by hand.

    python benchmarks/per_chunk.py [--chunks 20000] [--rounds 7] [--json]

Each contender reads the same answer from a server in another process and ends with its text:

- loop: ``httpx.Client().stream`` + ``iter_lines`` + ``json.loads`` + ``text +=``, the loop that
  guides tell people to write. It checks nothing and can't be stopped.
- llm_kit: `LLMClient.chat_stream` under a `StreamInterrupter`, whose content is read at the end.
- openai: the openai SDK's ``create(stream=True)``; left out if it is not installed.

Counted is the CPU time of this process only (`time.process_time`), so waiting is free. The
server sends as fast as it can, with one event or sixteen in each HTTP chunk, which goes out in
a write of its own. Rounds are interleaved, so that a slow moment of the machine meets everyone,
and medians are shown; the ratios travel to other machines, the microseconds do not.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs in a checkout as it is

from llm_kit import AsyncLLMClient, LLMClient, StreamInterrupter

WORDS = (" the", " stream", " of", " tokens", ",", " naïve", " and", " “quoted”")
MESSAGES = [{"role": "user", "content": "Hello"}]
REQUEST = {"model": "m", "messages": MESSAGES, "stream": True}
Read = Callable[[str], str]


# The server: a child process, over as soon as its standard input is.


def event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    payload = {
        "id": "chatcmpl-C4kKPUqzmYcBHbZKHsXcBWbDXRnSG",
        "object": "chat.completion.chunk",
        "created": 1757000000,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_8bda4d3a2c",
        "choices": [choice],
        "usage": None,
        "obfuscation": "tXk3vQ9b",
    }
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def expected_text(chunks: int) -> str:
    return "".join(WORDS[place % len(WORDS)] for place in range(chunks))


def body(chunks: int, per_write: int) -> list[bytes]:
    events = [event({"content": WORDS[place % len(WORDS)]}) for place in range(chunks)]
    events += [event({}, "stop"), b"data: [DONE]\n\n"]
    pieces = (b"".join(events[at : at + per_write]) for at in range(0, len(events), per_write))
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]


def answer(peer: socket.socket, bodies: dict[bytes, list[bytes]]) -> None:
    with peer, peer.makefile("rb") as requests:
        while line := requests.readline():
            length = 0
            while (header := requests.readline().lower()) not in (b"\r\n", b""):
                if header.startswith(b"content-length:"):
                    length = int(header.partition(b":")[2])
            requests.read(length)
            peer.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                b"transfer-encoding: chunked\r\n\r\n"
            )
            for piece in bodies[line.split(b"/")[1]]:
                peer.sendall(piece)


def serve(chunks: int) -> None:
    bodies = {b"1": body(chunks, 1), b"16": body(chunks, 16)}
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            peer, _ = listener.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=answer, args=(peer, bodies), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


@contextmanager
def server(chunks: int) -> Iterator[str]:
    command = [sys.executable, __file__, "--chunks", str(chunks), "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"


# The contenders: each makes its client now, and gives what reads one answer.


def sync_contenders(stack: ExitStack) -> dict[str, Read]:
    http = stack.enter_context(httpx.Client())

    def loop(base_url: str) -> str:
        text = ""
        with http.stream("POST", f"{base_url}/chat/completions", json=REQUEST) as response:
            for line in response.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    choices = json.loads(line[6:])["choices"]
                    if choices:
                        text += choices[0]["delta"].get("content") or ""
        return text

    def llm_kit(base_url: str) -> str:
        interrupter = StreamInterrupter()
        client = LLMClient(base_url, "key", "m", http_client=http)
        for _ in interrupter.wrap(client.chat_stream(MESSAGES)):
            pass
        return interrupter.content

    contenders = {"loop": loop, "llm_kit": llm_kit}
    try:
        from openai import OpenAI
    except ImportError:
        print("openai is not installed: left out", file=sys.stderr)
        return contenders
    sdk = stack.enter_context(OpenAI(api_key="key"))

    def openai(base_url: str) -> str:
        text = ""
        completions: Any = sdk.with_options(base_url=base_url).chat.completions
        for chunk in completions.create(**REQUEST):
            if chunk.choices:
                text += chunk.choices[0].delta.content or ""
        return text

    return {**contenders, "openai": openai}


def async_contenders(stack: ExitStack) -> dict[str, Read]:
    run = stack.enter_context(asyncio.Runner()).run
    http = httpx.AsyncClient()
    stack.callback(lambda: run(http.aclose()))

    async def loop(base_url: str) -> str:
        text = ""
        async with http.stream("POST", f"{base_url}/chat/completions", json=REQUEST) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    choices = json.loads(line[6:])["choices"]
                    if choices:
                        text += choices[0]["delta"].get("content") or ""
        return text

    async def llm_kit(base_url: str) -> str:
        interrupter = StreamInterrupter()
        client = AsyncLLMClient(base_url, "key", "m", http_client=http)
        async for _ in interrupter.wrap(client.chat_stream(MESSAGES)):
            pass
        return interrupter.content

    contenders = {"loop": loop, "llm_kit": llm_kit}
    with suppress(ImportError):  # said by the sync half
        from openai import AsyncOpenAI

        sdk = AsyncOpenAI(api_key="key")
        stack.callback(lambda: run(sdk.close()))

        async def openai(base_url: str) -> str:
            text = ""
            completions: Any = sdk.with_options(base_url=base_url).chat.completions
            async for chunk in await completions.create(**REQUEST):
                if chunk.choices:
                    text += chunk.choices[0].delta.content or ""
            return text

        contenders["openai"] = openai
    return {name: lambda url, read=read: run(read(url)) for name, read in contenders.items()}


def measure(chunks: int, rounds: int) -> list[dict[str, Any]]:
    """Give a row for each colour, write size and contender: the median of us a chunk."""
    expected = expected_text(chunks)
    rows = []
    with ExitStack() as stack:
        url = stack.enter_context(server(chunks))
        colours = {"sync": sync_contenders(stack), "async": async_contenders(stack)}
        cells = [(colour, per_write) for colour in colours for per_write in (1, 16)]
        costs: dict[tuple[str, int, str], list[float]] = {}
        for turn in range(rounds + 1):
            for colour, per_write in cells:
                for name, read in colours[colour].items():
                    gc.collect()
                    began = time.process_time()
                    text = read(f"{url}/{per_write}")
                    cost = time.process_time() - began
                    assert text == expected, f"{name} read something else"
                    if turn:  # the first one warms up
                        costs.setdefault((colour, per_write, name), []).append(cost / chunks * 1e6)
        for (colour, per_write, name), took in costs.items():
            ratios = [a / b for a, b in zip(took, costs[colour, per_write, "loop"], strict=True)]
            row = {"colour": colour, "per_write": per_write, "contender": name}
            row |= {"us": statistics.median(took), "ratio": statistics.median(ratios)}
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU a chunk against the hand-written loop")
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.chunks)
        return
    rows = measure(options.chunks, options.rounds)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"CPU a chunk, medians of {options.rounds} rounds of {options.chunks} chunks")
    print(f"{'':14}{'events a write':>15}{'us':>9}{'x loop':>9}")
    for row in rows:
        print("{colour:6}{contender:8}{per_write:15}{us:9.2f}{ratio:9.2f}".format(**row))


if __name__ == "__main__":
    main()
