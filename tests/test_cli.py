"""The command line: pipes, signals and terminals as a user meets them."""

import contextlib
import io
import json
import os
import pathlib
import pty
import re
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
from typing import get_args

import pytest
from answers import TEXT

from llm_kit import __version__, cli
from llm_kit.dialects import ChatDialectName
from llm_kit.testing import FakeServer, Reply

LIMIT = 10.0
COMMAND = [sys.executable, "-W", "error", "-m", "llm_kit.cli", "chat"]
EVIL = "a\x1b[2Jb\x07c\x9b1md\x7fe\r\n\tf"


class Terminal(io.StringIO):
    """A text file in memory that is, or isn't, a terminal; it can do something at a word."""

    def __init__(self, text="", *, tty=True, at=None):
        super().__init__(text)
        self.isatty = lambda: tty
        self.at = at or {}

    def write(self, text):
        super().write(text)
        if text in self.at:
            self.at[text]()
        return len(text)


class Pressing(io.RawIOBase):
    """Something that is read for so long that Ctrl-C is pressed."""

    def readable(self):
        return True

    def readall(self):
        press_ctrl_c()

    def readinto(self, buffer):
        press_ctrl_c()


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process; gives the exit code, stdout and stderr."""

    def run(*args, server=None, stdin=b"", out=None, err=None):
        if isinstance(stdin, bytes):
            stdin = io.TextIOWrapper(io.BytesIO(stdin))
        monkeypatch.setattr(sys, "stdin", stdin)
        for name, file in (("stdout", out), ("stderr", err)):
            if file is not None:
                monkeypatch.setattr(sys, name, file)
        if server is not None:
            args = ["--base-url", server.base_url, *args]
        code = cli.main(["chat", *args])
        shown = capsys.readouterr()
        return code, *(
            file.getvalue() if file else text for file, text in zip((out, err), shown, strict=True)
        )

    return run


@pytest.fixture
def talk(run, monkeypatch):
    """Run several turns: what is typed is a text, or an exception that typing it raises."""

    def talk(*typed, **options):
        lines = iter(typed)
        prompts = []

        def type_line(prompt=""):
            prompts.append(prompt)
            line = next(lines)
            if isinstance(line, str):
                return line
            raise line

        monkeypatch.setattr("builtins.input", type_line)
        return *run(stdin=Terminal(), **options), prompts

    return talk


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


def messages(server):
    return [[m["content"] for m in request.json["messages"]] for request in server.requests]


# --- one answer


def test_the_answer_goes_to_stdout_and_nothing_else_anywhere(run):
    with FakeServer(Reply.text("Hello, world!", reasoning="hm")) as server:
        assert run("Hi", server=server) == (0, "Hello, world!\n", "")


def test_a_line_that_is_finished_gets_no_further_end(run):
    with FakeServer(Reply.text("Hello\n")) as server:
        assert run("Hi", server=server) == (0, "Hello\n", "")


def test_the_options_are_what_the_server_is_asked(run):
    with FakeServer(Reply.text("x")) as server:
        args = ["--model", "m", "--system", "s", "--max-tokens", "7", "--api-key", "sk-1"]
        args += ["-p", "temperature=0.5", "-p", 'stop=["a"]', "-p", "user=me=you"]
        assert run("Hi", *args, server=server)[0] == 0
        (request,) = server.requests
    assert request.headers["authorization"] == "Bearer sk-1"
    sent = request.json
    assert sent.pop("messages") == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "Hi"},
    ]
    assert sent.pop("stream_options")
    assert sent == {
        "model": "m",
        "stream": True,
        "max_tokens": 7,
        "temperature": 0.5,
        "stop": ["a"],
        "user": "me=you",
    }


@pytest.mark.parametrize("dialect", get_args(ChatDialectName))
def test_a_server_is_asked_in_the_dialect_that_it_speaks(run, dialect):
    with FakeServer(Reply(TEXT[dialect])) as server:
        assert run("Hi", "--dialect", dialect, "--model", "m", server=server) == (0, "Hello\n", "")
        (request,) = server.requests
    assert "Hi" in request.body.decode()
    assert b"null" not in request.body  # what was not given is not sent


@pytest.mark.parametrize(
    ("args", "stdin", "prompt"),
    [
        ((), "Grüße\n".encode(), "Grüße\n"),
        ((), b"\xef\xbb\xbfHi", "Hi"),
        (("Sum it up:",), b"a b c\n", "Sum it up:\n\na b c\n"),
        (("Hi",), b" \n", "Hi"),
        (("Hi",), Terminal(), "Hi"),
    ],
)
def test_the_prompt_is_the_argument_and_what_is_piped(run, args, stdin, prompt):
    with FakeServer(Reply.text("x")) as server:
        assert run(*args, server=server, stdin=stdin) == (0, "x\n", "")
        assert messages(server) == [[prompt]]


def test_without_a_server_the_built_in_one_answers_and_says_so(run, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # must not be asked: it can't answer
    monkeypatch.setenv("no_proxy", "")
    code, out, err = run("Hi", "--stats")
    assert code == 0
    assert out.startswith("You said: “Hi”.")
    notice, stats = err.splitlines()
    assert "built-in" in notice
    assert "LLM_KIT_BASE_URL" in notice
    assert re.fullmatch(
        r"llm-kit: first text after \d+\.\d\d s; total \d+\.\d\d s; 19 chunks; 85 characters,"
        r" \d+ characters/s; tokens: 1 prompt, 16 completion, 17 total",
        stats,
    )


@pytest.mark.parametrize("name", ["LLM_KIT_BASE_URL", "OPENAI_BASE_URL"])
def test_the_environment_names_the_server(run, monkeypatch, name):
    with FakeServer(Reply.text("", usage=False)) as server:
        monkeypatch.setenv(name, server.base_url)
        code, out, err = run("Hi", "--stats")
    assert (code, out) == (0, "")
    assert err.startswith("llm-kit: first text never;")
    assert err.endswith("tokens: not reported\n")


def test_json_has_a_line_a_chunk_with_what_the_server_sent(run):
    events = [
        {"id": "i", "choices": [{"index": 1, "delta": {"content": "né\x7f"}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c"}]}}]},
        {"choices": [{"index": i, "delta": {}, "finish_reason": "stop"} for i in (0, 1)]},
        {"choices": [], "usage": {"prompt_tokens": 0}},
    ]
    with FakeServer(Reply.events(events)) as server:
        code, out, err = run("Hi", "--json", server=server)
        assert (code, err) == (0, "")
        assert [json.loads(line) for line in out.splitlines()] == [
            {"delta": "né\x7f", "index": 1, "id": "i"},
            {"tool_calls": [{"index": 0, "id": "c"}]},
            {"finish_reason": "stop"},
            {"finish_reason": "stop", "index": 1},
            {"usage": {"prompt_tokens": 0}},
        ]
        assert "\\u007f" in out  # a terminal would act on it
        code, out, err = run("Hi", "--raw", server=server)
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == events


def test_only_the_first_of_several_choices_is_shown(run):
    with FakeServer(Reply.text("a b")) as server:
        assert run("Hi", "-p", "n=2", server=server) == (0, "a b\n", "")


def test_a_refusal_is_shown_as_the_answer(run):
    events = [{"choices": [{"index": 0, "delta": {"refusal": "No."}, "finish_reason": "stop"}]}]
    with FakeServer(Reply.events(events)) as server:
        assert run("Hi", server=server) == (0, "No.\n", "")


@pytest.mark.parametrize(
    ("reason", "said"),
    [("length", "length: the answer was cut by the token limit"), ("od\x1bd", "od␛d: ")],
)
def test_an_unusual_finish_reason_is_mentioned(run, reason, said):
    with FakeServer(Reply.text("x", finish_reason=reason)) as server:
        code, out, err = run("Hi", server=server)
    assert (code, out) == (0, "x\n")
    assert err.startswith(f"llm-kit: {said}")
    assert err.count("\n") == 1


def test_reasoning_is_shown_on_stderr_if_asked_for(run):
    deltas = [{"reasoning_content": "hm\x1b"}, {"content": "a"}, {"reasoning_content": "ha"}]
    events = [{"choices": [{"index": 0, "delta": delta}]} for delta in (*deltas, {"content": "b"})]
    events[-1]["choices"][0]["finish_reason"] = "stop"
    with FakeServer(Reply.events(events)) as server:
        assert run("Hi", "--reasoning", server=server) == (0, "ab\n", "hm\x1b\n\nha\n")
        shown = run("Hi", "--reasoning", server=server, err=Terminal())
    assert shown == (0, "ab\n", "\x1b[2mhm␛\x1b[22m\n\n\x1b[2mha\x1b[22m\n")


# --- what goes wrong


def test_an_error_is_one_line_and_what_came_stays(run):
    with FakeServer(Reply.text("a b c").cut(at=450), Reply.error(401, "no\n\x1b[2Jway")) as server:
        code, out, err = run("Hi", "--stats", server=server)
        assert (code, out) == (1, "a\n")
        error, stats = err.splitlines()
        assert error.startswith("llm-kit: the connection was lost")
        assert "; 1 characters," in stats
        code, out, err = run("Hi", server=server)
    assert (code, out) == (1, "")
    assert err == "llm-kit: the server answered 401: no ␛[2Jway; check the api_key\n"


def test_an_error_says_why_it_is_final_and_names_no_attributes(run):
    wait = Reply.error(429, headers={"retry-after": "120"})
    with FakeServer(wait, Reply.text("one two").cut(at=500)) as server:
        done = run("Hi", "--base-url", server.base_url)
        assert done[0] == 1
        assert "not sooner than in 120 s\n" in done[2]
        assert "llm-kit: Not asked again: the server wants a pause of 120 s" in done[2]
        cut = run("Hi", "--base-url", server.base_url)
        assert cut[1].startswith("one")
        assert "may be sent again" in cut[2]
        assert ".partial" not in cut[2]


@pytest.mark.parametrize(
    ("args", "stdin", "said"),
    [
        ((), b" \n", "the prompt is empty"),
        ((" ",), Terminal(), "the prompt is empty"),
        ((), b"a\xff", "stdin is not UTF-8, at byte 1"),
        (("Hi", "--base-url", "nowhere"), b"", "base_url 'nowhere' must begin with http"),
        (("Hi", "-p", "stream=true"), b"", "chat_stream always streams"),
        (("Hi", "-p", "messages=[]"), b"", "multiple values for argument 'messages'"),
        (("Hi", "-p", "top_p=NaN"), b"", "can't be written as JSON"),
        (("Hi\udcff",), b"", "not valid Unicode"),
        (("Hi", "--api-key", "kéy"), b"", "the api_key has a character"),
        (("Hi", "--dialect", "ollama"), b"", "the built-in test server speaks openai only"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(run, args, stdin, said):
    code, out, err = run(*args, stdin=stdin)
    assert (code, out) == (2, "")
    assert said in err.splitlines()[-1]
    assert all(line.startswith("llm-kit: ") for line in err.splitlines())


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["chat", "-p", "x"],
        ["chat", "-p", "=1"],
        ["chat", "--json", "--raw"],
        ["chat", "--st"],
        ["chat", "--dialect", "cohere"],  # can be read, but not asked in
    ],
)
def test_wrong_usage_is_argparses(args, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(args)
    assert caught.value.code == 2
    assert "usage: llm-kit" in capsys.readouterr().err


@pytest.mark.parametrize("args", [["--version"], ["chat", "--version"]])
def test_the_version(args, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["llm-kit", *args])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(cli.__file__, run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"llm-kit {__version__}\n"


def test_a_reader_that_leaves_ends_it_quietly(run):
    reading, writing = os.pipe()
    os.close(reading)
    with FakeServer(Reply.text("a b c").stall(after=3)) as server, open(writing, "w") as gone:
        gone.getvalue = lambda: ""
        assert run("Hi", server=server, out=gone) == (141, "", "")
        assert server.requests[0].closed.wait(LIMIT)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full disk")
def test_a_full_disk_is_an_error(run):
    with FakeServer(Reply.text("a b c")) as server, open("/dev/full", "w") as full:
        full.getvalue = lambda: ""
        code, _, err = run("Hi", server=server, out=full)
    assert code == 1
    assert "No space left" in err


# --- several turns


def test_the_conversation_is_kept(talk):
    with FakeServer(Reply.text("one"), Reply.text("two"), Reply.text("three")) as server:
        code, out, err, prompts = talk("a", " ", "b", "c", "Quit", server=server, out=Terminal())
        assert messages(server) == [["a"], ["a", "one", "b"], ["a", "one", "b", "two", "c"]]
    assert (code, out) == (0, "one\ntwo\nthree\n")
    assert err == 'llm-kit: "exit" or Ctrl-D ends the chat, Ctrl-C stops an answer\n'
    assert prompts == ["> "] * 5


def test_the_prompt_of_a_line_stays_out_of_the_answers(talk):
    with FakeServer(Reply.text("one")) as server:
        code, out, err, prompts = talk("a", EOFError(), server=server)
    assert (code, out) == (0, "one\n")
    assert err.endswith("\n> > \n")
    assert prompts == ["", ""]


def test_a_stopped_answer_is_kept_as_far_as_it_came(talk):
    replies = Reply.text("one two three").stall(after=3), Reply.text("Ok.")
    out = Terminal(at={" two": press_ctrl_c})
    with FakeServer(*replies) as server:
        code, out, err, _ = talk("a", "b", "exit", server=server, out=out)
        assert server.requests[0].closed.wait(LIMIT)
        assert messages(server) == [["a"], ["a", "one two", "b"]]
    assert (code, out) == (0, "one two\nOk.\n")
    assert err.splitlines()[1:] == ["llm-kit: stopped: 7 characters kept"]


def test_a_turn_without_an_answer_leaves_no_trace(talk):
    replies = Reply.error(400), Reply.tool_calls([{"name": "f"}]), Reply.text("Ok.")
    with FakeServer(*replies) as server:
        code, out, err, _ = talk("a", "b", "c", "exit", server=server, out=Terminal())
        assert messages(server) == [["a"], ["b"], ["c"]]
    assert (code, out) == (0, "Ok.\n")
    assert "tool_calls: the model asks for tools" in err


def test_ctrl_c_at_the_prompt_clears_and_twice_in_a_row_leaves(talk):
    ctrl_c = KeyboardInterrupt()
    with FakeServer(Reply.text("one")) as server:
        code, out, err, _ = talk(ctrl_c, "a", ctrl_c, ctrl_c, server=server, out=Terminal())
    assert (code, out) == (130, "one\n")
    assert err.count("Ctrl-C again ends the chat") == 2


# --- Ctrl-C, in-process


def test_ctrl_c_again_ends_it_at_once(run):
    def insist():
        press_ctrl_c()
        press_ctrl_c()

    handler = signal.getsignal(signal.SIGINT)
    with FakeServer(Reply.text("one two").stall(after=2)) as server:
        shown = run("Hi", server=server, out=Terminal(at={"one": insist}, tty=False))
        assert server.requests[0].closed.wait(LIMIT)
    assert shown == (130, "one", "")
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_while_stdin_is_read(run):
    stdin = Terminal(tty=False)
    stdin.buffer = io.BufferedReader(Pressing())
    assert run("Hi", stdin=stdin) == (130, "", "")


# --- as a process: pipes


def spawn(server, *args, **options):
    env = {**os.environ, "LLM_KIT_BASE_URL": server.base_url, **options.pop("env", {})}
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE} | options
    return subprocess.Popen([*COMMAND, *args], stderr=subprocess.PIPE, env=env, **options)


@contextlib.contextmanager
def running(server, *args, **options):
    """Run the command line as a process that doesn't outlive the test."""
    with spawn(server, *args, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def test_pipes_get_the_text_as_it_is_and_no_spinner():
    with FakeServer(Reply.text(EVIL, reasoning="hm").hang(0.3)) as server:
        with running(server, stdin=subprocess.PIPE) as process:
            out, err = process.communicate(b"Hi", LIMIT)
        assert messages(server) == [["Hi"]]
    assert (process.returncode, out, err) == (0, EVIL.encode() + b"\n", b"")


@pytest.mark.parametrize(
    ("args", "expected"),
    [((), b"n? ?\n"), (("--json",), rb"""{"delta": "n\u00e9","""), (("--raw",), rb"n\u00e9")],
)
def test_an_ascii_stdout_does_not_fail(args, expected):
    env = {"PYTHONIOENCODING": "ascii"}
    with (
        FakeServer(Reply.text("né 😀")) as server,
        running(server, "Hi", *args, env=env) as process,
    ):
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (0, b"")
    assert expected in out


def test_head_ends_it_quietly():
    with FakeServer(Reply.text("a\nb\nc\n" * 5, pace=0.02).stall(after=14)) as server:
        with running(server, "Hi") as process:
            assert process.stdout.readline() == b"a\n"
            process.stdout.close()
            assert process.wait(LIMIT) == 141
            assert process.stderr.read() == b""
        assert server.requests[0].closed.wait(LIMIT)


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
def test_a_standard_file_may_be_closed(closed):
    number = ("stdin", "stdout", "stderr").index(closed)
    with FakeServer(Reply.text("Ok.")) as server:
        command = [sys.executable, "-m", "llm_kit.cli", "chat", "--base-url", server.base_url, "Hi"]
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {number}>&-', "sh", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT,
        )
    assert done.returncode == 0
    assert done.stdout == (b"" if closed == "stdout" else b"Ok.\n")
    assert done.stderr == b""


# --- as a process: signals


def asleep(process):
    """Wait until the process waits: a signal reaches it there for certain, where /proc tells."""
    with contextlib.suppress(FileNotFoundError):
        deadline = time.monotonic() + LIMIT
        state = pathlib.Path(f"/proc/{process.pid}/stat")
        while state.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < deadline
    return process


def test_ctrl_c_in_mid_answer_keeps_what_came():
    with FakeServer(Reply.text("one two three").stall(after=3)) as server:
        with running(server, "Hi", "--stats") as process:
            assert process.stdout.read(7) == b"one two"
            asleep(process).send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LIMIT)
        assert server.requests[0].closed.wait(LIMIT)
    assert (process.returncode, out) == (0, b"\n")
    note, stats = err.decode().splitlines()
    assert note == "llm-kit: stopped: 7 characters kept"
    assert "; 7 characters," in stats


def test_ctrl_c_before_the_first_token():
    with FakeServer(Reply.text("x").hang()) as server:
        with running(server, "Hi") as process:
            received = server.wait_for_request(timeout=LIMIT)
            asleep(process).send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LIMIT)
        assert received.closed.wait(LIMIT)
    assert (process.returncode, out, err) == (0, b"", b"llm-kit: stopped: 0 characters kept\n")


def test_ctrl_c_again_gets_out_of_a_blocked_pipe():
    event = {"choices": [{"index": 0, "delta": {"content": "x" * 2**20}}]}  # no pipe takes that
    with FakeServer(Reply.events([event]).stall(after=1)) as server:
        with running(server, "Hi") as process:
            assert process.stdout.read(1) == b"x"
            asleep(process).send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):  # it is kept back by its reader
                process.wait(1)
            asleep(process).send_signal(signal.SIGINT)
            assert process.wait(LIMIT) == 130
            assert process.stderr.read() == b""
        assert server.requests[0].closed.wait(LIMIT)


# --- as a process: a terminal


class Screen:
    """A terminal that a process has as its own, Ctrl-C included."""

    def __init__(self, server, *args):
        self.master, slave = pty.openpty()
        adopt = (
            "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR));"
            " from llm_kit.cli import main; sys.exit(main())"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", adopt, "chat", *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "dumb", "LLM_KIT_BASE_URL": server.base_url},
        )
        os.close(slave)
        self.seen = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def until(self, text):
        """Read what is shown until it has the text; gives it all, from the last call on."""
        deadline = time.monotonic() + LIMIT
        while text not in self.seen:
            assert select.select([self.master], [], [], deadline - time.monotonic())[0], self.seen
            self.seen += os.read(self.master, 65536)
        shown, self.seen = self.seen, b""
        return shown

    def type(self, text):
        asleep(self.process)
        os.write(self.master, text)

    def rest(self):
        """Read to the end; gives what is shown and the exit code."""
        with contextlib.suppress(OSError):  # Linux: nobody holds the other end
            while piece := os.read(self.master, 65536):
                self.seen += piece
        return self.seen, self.process.wait(LIMIT)


def test_a_terminal_has_a_spinner_and_is_not_steered():
    seen = threading.Event()

    def reply(received):
        seen.wait(LIMIT)
        return Reply.text(EVIL)

    with FakeServer(reply) as server, Screen(server, "Hi") as screen:
        before = screen.until(b"/ thinking")
        seen.set()
        shown, code = screen.rest()
    assert before.startswith(b"\r| thinking \r/ thinking")
    assert code == 0
    waiting, _, answer = (before + shown).rpartition(b"\r" + b" " * 20 + b"\r")
    assert waiting
    assert answer.decode() == "a␛[2Jb␇c�1md�e\r\n\tf\r\n"


def test_the_spinner_turns_until_the_answer_begins(run):
    seen = threading.Event()

    def reply(received):
        seen.wait(LIMIT)
        return Reply.text("Ok.")

    err = Terminal(at={"\r/ thinking ": seen.set})
    with FakeServer(reply) as server:
        code, out, err = run("Hi", server=server, out=Terminal(), err=err)
    assert (code, out) == (0, "Ok.\n")
    assert re.fullmatch(r"(\r. thinking ){2,}\r {20}\r", err)


def test_a_quick_answer_on_a_terminal_has_no_spinner(run):
    with FakeServer(Reply.text("Ok.")) as server:
        code, out, err = run("Hi", server=server, out=Terminal(), err=Terminal())
    assert (code, out) == (0, "Ok.\n")
    assert re.fullmatch(r"(\r. thinking )*\r {20}\r", err)


def test_reasoning_and_answer_have_lines_of_their_own_on_a_terminal():
    reply = Reply.text("Ok.", reasoning="hm")
    with FakeServer(reply) as server, Screen(server, "Hi", "--reasoning") as screen:
        shown, code = screen.rest()
    assert code == 0
    assert shown.rpartition(b" \r")[2] == b"\x1b[2mhm\x1b[22m\r\nOk.\r\n"


def test_several_turns_on_a_terminal():
    replies = Reply.text("one two three").stall(after=3), Reply.text("x").hang(), Reply.text("Ok.")
    with FakeServer(*replies) as server, Screen(server) as screen:
        screen.until(b"> ")
        screen.type(b"a\n")
        screen.until(b"two")
        screen.type(b"\x03")
        screen.until(b"\r\nllm-kit: stopped: 7 characters kept\r\n> ")
        screen.type(b"b\n")
        screen.until(b"thinking")
        screen.type(b"\x03")
        screen.until(b"llm-kit: stopped: 0 characters kept\r\n> ")
        screen.type(b"no, wait")
        screen.until(b"wait")
        screen.type(b"\x03")
        screen.until(b"\r\nllm-kit: Ctrl-C again ends the chat\r\n> ")
        screen.type(b"c\n")
        screen.until(b"Ok.\r\n> ")
        screen.type(b"\x04")
        _, code = screen.rest()
        assert messages(server) == [["a"], ["a", "one two", "b"], ["a", "one two", "c"]]
    assert code == 0
