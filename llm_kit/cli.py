"""The command line. The answer alone goes to stdout, whatever is said about it to stderr."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import sys
import threading
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from time import monotonic
from typing import Any, TextIO, get_args

import attrs

from llm_kit import __version__ as version
from llm_kit.client import LLMClient
from llm_kit.dialects import ChatDialectName, find_chat_dialect
from llm_kit.errors import LLMKitError
from llm_kit.settings import environment
from llm_kit.streams.interrupter import StreamInterrupter
from llm_kit.testing import FakeServer
from llm_kit.types import Chunk, Message, StreamResult

_EPILOG = """\
A terminal without PROMPT is asked for several turns; a stdin that is no terminal is read whole,
and sent behind PROMPT if there is one. LLM_KIT_BASE_URL, LLM_KIT_API_KEY and LLM_KIT_MODEL (or
OPENAI_BASE_URL, OPENAI_API_KEY) say who answers; without them a built-in test server does.

  git diff | llm-kit chat "Write a commit message for this change." -p temperature=0 --stats

Exit codes: 0 answered, or stopped by Ctrl-C; 1 the server, the network or the disk failed;
2 wrong usage; 130 Ctrl-C was pressed again; 141 nobody reads stdout any more."""

_ENDINGS = {
    "length": "the answer was cut by the token limit",
    "content_filter": "the answer was cut by the server's content filter",
    "tool_calls": "the model asks for tools, which are not run here; --json shows the calls",
}

# What a model says must not steer the terminal. C0 has pictures in Unicode; \r\n loses its \r.
_VISIBLE: dict[int, int | None] = {c: 0x2400 + c for c in range(0x20) if chr(c) not in "\t\n"}
_VISIBLE |= dict.fromkeys(range(0x7F, 0xA0), 0xFFFD) | {ord("\r"): None}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code, but argparse's own ways out are SystemExit."""
    options = _parser().parse_args(argv)
    files = (sys.stdin, sys.stdout, sys.stderr)  # None if it was closed before the start
    # Left open on purpose (SIM115): they stand in for the streams until the process ends.
    sys.stdin, sys.stdout, sys.stderr = (file or open(os.devnull, "r+") for file in files)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        return _chat(options)
    except (KeyboardInterrupt, BrokenPipeError) as error:
        code = 130 if isinstance(error, KeyboardInterrupt) else 141  # as SIGINT and SIGPIPE do
    except (OSError, TypeError, ValueError) as error:  # the last two: how an argument is refused
        _say(error)
        code = 1 if isinstance(error, OSError) else 2
    # What stdout hasn't taken yet must not be offered again at exit: that would fail, or block.
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _parser() -> ArgumentParser:
    parser = ArgumentParser("llm-kit", description="Stream LLM chats.")
    parser.add_argument("--version", action="version", version=f"llm-kit {version}")
    chat = parser.add_subparsers(metavar="COMMAND", required=True).add_parser(
        "chat",
        help="stream an answer to the terminal",
        description="Stream an answer to the terminal. Ctrl-C stops it and keeps what came.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add, form = chat.add_argument, chat.add_mutually_exclusive_group()
    add("prompt", nargs="?", metavar="PROMPT", help="what to ask")
    add("--base-url", metavar="URL", help="where the API is, usually ending in /v1")
    add("--api-key", metavar="KEY", help="better in the environment: others can see arguments")
    add("--model", metavar="NAME", help="which model shall answer")
    dialects = get_args(ChatDialectName)
    speaks = f"how the server speaks: {', '.join(dialects)}"
    add("--dialect", metavar="NAME", choices=dialects, default="openai", help=speaks)
    add("--system", metavar="TEXT", help="the system message: how the model shall behave")
    add("--max-tokens", metavar="N", type=int, help="how long the answer may be, in tokens")
    add("-p", metavar="NAME=VALUE", type=_param, action="append", help="any parameter, as JSON")
    add("--reasoning", action="store_true", help="show on stderr what the model thinks")
    add("--stats", action="store_true", help="say on stderr how long and how much it was")
    form.add_argument("--json", action="store_true", help="print each chunk as a line of JSON")
    form.add_argument("--raw", action="store_true", help="print the provider's own JSON objects")
    add("--version", action="version", version=f"llm-kit {version}")
    return parser


def _param(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    with suppress(ValueError):
        return name, json.loads(value)
    return name, value


def _chat(options: Namespace) -> int:
    prompt = _prompt(options.prompt)
    if prompt is not None and not prompt.strip():
        raise ValueError('the prompt is empty: write llm-kit chat "...", or pipe a text into it')
    url = options.base_url or environment("BASE_URL", find_chat_dialect(options.dialect))
    with ExitStack() as stack:
        if not url:
            if options.dialect != "openai":
                raise ValueError(
                    f"--dialect {options.dialect} needs a server of that kind: give --base-url;"
                    " the built-in test server speaks openai only"
                )
            url = stack.enter_context(FakeServer()).base_url
            _say("""no server is configured, so a built-in test server answers;
                set LLM_KIT_BASE_URL (and LLM_KIT_API_KEY, LLM_KIT_MODEL) to ask a real one""")
        client = stack.enter_context(
            LLMClient(url, options.api_key, options.model, dialect=options.dialect)
        )
        system = [Message(role="system", content=options.system)] if options.system else []
        ask = partial(_ask, client, options, system)
        return _talk(ask) if prompt is None else ask(prompt)


def _prompt(given: str | None) -> str | None:
    """Put together what was given and what is piped in; None: ask at the terminal."""
    if sys.stdin.isatty():
        return given
    try:
        piped = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"stdin is not UTF-8, at byte {error.start}: convert it first") from None
    return "\n\n".join(part for part in (given, piped) if part and part.strip())


def _talk(ask: Callable[[str], object]) -> int:
    """Take questions at the terminal until the user leaves; gives the exit code."""
    with suppress(ImportError):  # not on every platform
        import readline  # noqa: F401  gives `input` editing and a history
    _say('"exit" or Ctrl-D ends the chat, Ctrl-C stops an answer')
    warned = False
    while True:
        try:
            if not sys.stdout.isatty():  # input() would write its prompt among the answers
                print("> ", end="", file=sys.stderr, flush=True)
            line = input("> " if sys.stdout.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt) as way_out:  # what was typed is gone with it
            print(file=sys.stderr)
            if warned or isinstance(way_out, EOFError):
                return 0 if isinstance(way_out, EOFError) else 130
            warned, line = True, ""
            _say("Ctrl-C again ends the chat")
        if line.lower() in ("exit", "quit"):
            return 0
        if line:
            ask(line)
            warned = False


# What an error says of its attributes: in a terminal nobody can look at them.
_PROGRAMMERS_WORDS = re.compile(r"; \.partial has what came( before)?")


def _ask(client: LLMClient, options: Namespace, chat: list[Message], prompt: str) -> int:
    """Ask, show the answer as it comes, add both to the chat; gives the exit code."""
    question = Message(role="user", content=prompt)
    interrupter = StreamInterrupter()
    limit = {} if options.max_tokens is None else {"max_tokens": options.max_tokens}
    params: dict[str, Any] = {**limit, **dict(options.p or ())}
    stream = interrupter.wrap(client.chat_stream([*chat, question], **params))
    start, screen, failure = monotonic(), _Screen(options), None
    try:
        with interrupter.on_sigint(), stream:
            for chunk in stream:
                screen.show(chunk)
    except LLMKitError as error:
        failure = error
    finally:
        screen.begin()
    seconds, result = monotonic() - start, stream.result
    screen.end()
    answer = result.to_message()
    answer.pop("tool_calls", None)  # nobody runs them, and unanswered no server takes them
    if answer.get("content") or answer.get("refusal"):
        chat += question, answer  # else the next question would stand beside this one
    if failure is not None:
        _say(_PROGRAMMERS_WORDS.sub("", str(failure)))
        for note in getattr(failure, "__notes__", ()):
            _say(note)
    elif result.status == "interrupted":
        _say(f"stopped: {len(result.content)} characters kept")
    elif (reason := result.finish_reason) != "stop":
        _say(f"{reason}: {_ENDINGS.get(str(reason), 'so the server ended the answer')}")
    if options.stats:
        _say(_stats(result, seconds))
    return 0 if failure is None else 1


def _stats(result: StreamResult, seconds: float) -> str:
    first, length = result.timing.first_text, len(result.content)
    kinds = ("prompt", "completion", "total", "reasoning", "cached")
    counts = {kind: getattr(result.usage, f"{kind}_tokens", None) for kind in kinds}
    tokens = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count is not None)
    return (
        f"first text {'never' if first is None else f'after {first:.2f} s'}; total {seconds:.2f} s;"
        f" {result.chunk_count} chunks; {length} characters, {length / (seconds or 1):.0f}"
        f" characters/s; tokens: {tokens or 'not reported'}"
    )


class _Screen:
    """Shows one answer: a spinner until it begins, then its text or its lines of JSON."""

    def __init__(self, options: Namespace) -> None:
        self._options = options
        self._begun = threading.Event()
        self._spinner = threading.Thread(target=self._spin, daemon=True)
        self._at: TextIO | None = None  # the file whose last line is unfinished
        self._raw: object = None
        if sys.stdout.isatty() and sys.stderr.isatty():
            self._spinner.start()

    def _spin(self) -> None:
        hands = itertools.cycle("|/-\\")
        with suppress(OSError):
            while not self._begun.wait(0.1):
                print(f"\r{next(hands)} thinking ", end="", file=sys.stderr, flush=True)
            print(f"\r{'':20}\r", end="", file=sys.stderr, flush=True)  # a ^C may stand there too

    def begin(self) -> None:
        self._begun.set()
        if self._spinner.ident is not None:  # else it was not started
            self._spinner.join()

    def show(self, chunk: Chunk) -> None:
        if self._options.raw:
            if chunk.raw is not self._raw:  # else it is another choice of the same object
                self._line(chunk.raw)
            self._raw = chunk.raw
        elif self._options.json:
            self._line(attrs.asdict(chunk, filter=lambda a, v: a.name != "raw" and v != a.default))
        elif chunk.index == 0:
            self._write(sys.stderr, chunk.reasoning if self._options.reasoning else "")
            self._write(sys.stdout, chunk.delta + chunk.refusal)

    def _line(self, value: object) -> None:
        line, encoding = json.dumps(value, ensure_ascii=False), sys.stdout.encoding or "utf-8"
        if not line.isprintable() or line.encode(encoding, "replace").decode(encoding) != line:
            line = json.dumps(value)  # pure ASCII: what can't be shown as it is, is escaped
        self._write(sys.stdout, line + "\n")

    def _write(self, file: TextIO, text: str) -> None:
        if not text:
            return
        self.begin()
        if self._at not in (file, None):
            print(file=sys.stderr, flush=True)  # never into the answer
        self._at = None if text.endswith("\n") else file
        if file.isatty():
            text = text.translate(_VISIBLE)
            text = f"\x1b[2m{text}\x1b[22m" if file is sys.stderr else text  # dim
        print(text, end="", file=file, flush=True)

    def end(self) -> None:
        if self._at is not None:
            print(file=self._at, flush=True)


def _say(message: object) -> None:  # in one line, whatever it quotes
    print("llm-kit:", " ".join(str(message).split()).translate(_VISIBLE), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
