"""
Recorded streams, cut at random bytes in every way in which a connection breaks.

What must come out is told by a second, naive reading of the bytes before the cut. The table of
the outcomes is printed at the end of the run. The streams are other people's and stay outside:
give their folder with ``--streams DIR``; ``--slow`` cuts each of them often.
"""

import asyncio
import collections
import dataclasses
import gc
import itertools
import json
import os
import random
import re
import sys
import threading

import pytest
from loopback import PATIENCE, wait_until

from llm_kit import LLMKitError, StreamCollector, StreamInterrupter, StreamTruncatedError
from llm_kit.testing import Cut, FakeServer, Pause, Reply, Reset

API = "openai.chat"
FAILED = {"error", "network_error", "insufficient_system_resource"}


@dataclasses.dataclass(frozen=True)
class Fault:
    """A way in which an answer stops; `clean` if the client can't tell it from its end."""

    name: str
    framings: tuple
    step: object
    clean: bool = False

    def positions(self, body):
        """Where a body may be cut; a promised length that is there to its last byte is no cut."""
        return range(len(body) + ("length" not in self.framings))

    def reply(self, body, at, chance):
        written = chance.sample(range(1, at), min(at - 1, 8)) if at > 1 else []
        bounds = [0, *sorted(written), at]
        steps = [body[a:b] for a, b in itertools.pairwise(bounds)]
        if isinstance(self.step, Reset) and at > 16 * 1024:
            # A reset drops what the sender's kernel still holds, because the reader's has no room
            # for more: let it make some. Smaller bodies are with the reader at once.
            steps.append(Pause(0.02))
        reply = Reply((*steps, self.step, body[at:]))
        return reply.with_framing(chance.choice(self.framings))


FAULTS = [
    Fault("clean end", ("close", "http/1.0"), Cut(), clean=True),
    Fault("chunked cut", ("chunked",), Cut()),
    Fault("length cut", ("length",), Cut()),
    Fault("reset", ("chunked", "close"), Reset()),
]


# The second reading


def events(body):
    """Split a body into (type, data): by hand, with none of our code."""
    *lines, unfinished = re.split(rb"\r\n|\r|\n", body.removeprefix(b"\xef\xbb\xbf"))
    kind, data = b"", []
    for line in lines:
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            kind = value.strip()
        elif not line:
            if data:
                yield kind, b"\n".join(data)
            kind, data = b"", []
    # What is whole counts without its blank line, however the body ended.
    name, _, value = unfinished.partition(b":")
    data += [value.removeprefix(b" ")] if name == b"data" else []
    pending = b"\n".join(data)
    if pending.strip() == b"[DONE]" or is_json(pending):
        yield kind, pending


def is_json(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


class Said:
    """What the events of a body say, folded one by one."""

    def __init__(self, body, norms):
        self.choices, self.usage, self.chunks = {}, None, 0
        self.done = self.api_error = self.protocol_error = False
        for kind, text in events(body):
            if text.strip() == b"[DONE]":
                self.done = True
                break
            if not text.strip() or text.strip().startswith(b":"):
                continue  # a keep-alive
            if not is_json(text):
                self.protocol_error = True
                break
            payload = json.loads(text)
            self.api_error |= kind == b"error" or bool(payload.get("error"))
            if kind != b"error":
                self.add(payload, norms)

    def add(self, payload, norms):
        found = [payload.get("usage"), (payload.get("x_groq") or {}).get("usage")]
        choices = payload.get("choices") or []
        for position, choice in enumerate(choices):
            found.append(choice.get("usage"))
            self.add_choice(choice.get("index", position), choice, norms)
        found = [usage for usage in found if usage is not None]
        self.usage = found[0] if found else self.usage
        self.chunks += len(choices) or bool(found)

    def add_choice(self, index, choice, norms):
        delta = choice.get("delta") or {}
        finish = choice.get("finish_reason")
        speaks = any(value for name, value in delta.items() if name != "index")
        if not speaks and not finish and choice.get("logprobs") is None:
            return
        if index not in self.choices:
            texts = dict.fromkeys(("content", "reasoning", "refusal"), "")
            self.choices[index] = texts | {"role": None, "finish_reason": None, "calls": []}
        total = self.choices[index]
        content, thought = parts(delta.get("content"))
        total["content"] += content
        total["reasoning"] += thought + reasoning(delta)
        total["refusal"] += delta.get("refusal") or ""
        total["role"] = total["role"] or delta.get("role") or None
        total["finish_reason"] = norms.get(finish, finish) or total["finish_reason"]
        for piece in delta.get("tool_calls") or ():
            add_call(total["calls"], piece)

    def ending(self, clean, wanted):
        """What the stream must end in, if this is all that it said; `wanted` choices were asked."""
        finishes = [choice["finish_reason"] for choice in self.choices.values()]
        whole = bool(finishes) and all(finishes)
        if self.protocol_error:
            return "StreamProtocolError"
        if self.api_error or ((clean or self.done) and FAILED.intersection(finishes)):
            return "StreamAPIError"
        if not (clean or self.done):
            whole = whole and not FAILED.intersection(finishes) and len(finishes) >= wanted
        return "complete" if whole else "StreamTruncatedError"


def parts(content):
    """Give the text and the thoughts of a content, which may be a list of parts."""
    if not isinstance(content, list):
        return content or "", ""
    thoughts = [each for part in content for each in part.get("thinking") or ()]
    return tuple("".join(each.get("text") or "" for each in some) for some in (content, thoughts))


def reasoning(delta):
    """Give a delta's reasoning out of the first of its homes that has any."""
    details = delta.get("reasoning_details") or ()
    listed = "".join(each.get("text") or each.get("summary") or "" for each in details)
    return delta.get("reasoning_content") or delta.get("reasoning") or listed


def add_call(calls, piece):
    """Add a piece to the call that it belongs to."""
    index, ident, function = piece.get("index"), piece.get("id"), piece.get("function") or {}
    if index is not None:
        found = [call for call in calls if call["index"] == index][-1:]
        if found and ident and function.get("name") and ident != (found[0]["id"] or ident):
            found = []  # the index is used again, for a new call
    elif ident:
        found = [call for call in calls if call["id"] == ident]
    else:
        found = calls[-1:]
    if not found:
        found = [{"index": index, "id": None, "name": "", "arguments": ""}]
        calls.append(found[0])
    call = found[0]
    call["id"] = call["id"] or ident
    call["name"] = call["name"] or function.get("name") or ""
    call["arguments"] += function.get("arguments") or ""


# What came out


def flat(choices):
    """Give every text and every fact of the choices by its place."""
    places = {}
    for index, choice in choices.items():
        for name, value in choice.items():
            if name != "calls":
                places[index, name] = value
        for number, call in enumerate(choice["calls"]):
            for name in ("id", "name", "arguments"):
                places[index, "call", number, name] = call[name]
    return places


def given(result):
    choices = {}
    for choice in result.choices:
        calls = choice.tool_calls + choice.incomplete_tool_calls
        choices[choice.index] = {
            "content": choice.content,
            "reasoning": choice.reasoning,
            "refusal": choice.refusal,
            "role": choice.role,
            "finish_reason": choice.finish_reason,
            "calls": [{"id": call["id"], **call["function"]} for call in calls],
        }
    return choices


def differences(said, result):
    """Compare what was said with what came out: characters lost, and all that differs."""
    wanted = flat(said.choices) | {
        "usage": said.usage,
        "chunks": said.chunks,
        "first content": said.choices.get(0, {}).get("content", ""),
    }
    found = flat(given(result)) | {
        "usage": result.usage and result.usage.raw,
        "chunks": result.chunk_count,
        "first content": result.content,
    }
    for choice in result.choices:
        if choice.finish_reason is None and choice.tool_calls:
            found[choice.index, "calls finished"] = choice.tool_calls
    lost, wrong = 0, []
    for place in wanted.keys() | found.keys():
        said_here, came = wanted.get(place), found.get(place)
        if said_here == came:
            continue
        wrong.append(f"{place}: {came!r:.300} in place of {said_here!r:.300}")
        if isinstance(said_here, str) and place != "first content":
            pairs = itertools.zip_longest(said_here, came or "")
            same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
            lost += len(said_here) - same
    return lost, wrong


ENDINGS = ("complete", "truncated", "other typed errors")
FAILINGS = ("lost characters", "wrong", "hangs", "untyped errors", "leaks")


@dataclasses.dataclass
class Row:
    """The counts of one kind of cut in one colour, and what was not as it should be."""

    fault: str
    colour: str
    streams: set = dataclasses.field(default_factory=set)
    count: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    problems: list = dataclasses.field(default_factory=list)

    def cells(self):
        counts = {name: self.count[name] for name in ("cuts", *ENDINGS, *FAILINGS)}
        return {
            "cut": self.fault,
            "colour": self.colour,
            "streams": len(self.streams),
            **counts,
        }

    def add(self, record, column, lost, wrong, place):
        """Count one read: how it ended, the characters that it lost, what else was wrong."""
        self.streams.add(record["id"])
        self.count.update({"cuts": 1, column: 1, "lost characters": lost, "wrong": bool(wrong)})
        if wrong:
            self.problems.append(f"{place}: {'; '.join(wrong)}")


class Table:
    """The rows so far, printed behind everything else: a passing run shows them as well."""

    def __init__(self):
        self.rows = []

    def row(self, fault, colour):
        self.rows.append(Row(fault, colour))
        return self.rows[-1]

    def pytest_terminal_summary(self, terminalreporter):
        if not self.rows:
            return
        cells = [row.cells() for row in self.rows]
        terminalreporter.section("fault matrix")
        lines = [list(cells[0]), *([str(cell) for cell in row.values()] for row in cells)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            padded = zip(line, widths, strict=True)
            terminalreporter.write_line("  ".join(cell.rjust(width) for cell, width in padded))


@pytest.fixture(scope="module")
def table(pytestconfig):
    made = Table()
    pytestconfig.pluginmanager.register(made, "fault-matrix")
    return made


class Watchdog:
    """Ends each read that lasts too long, so that a hang is counted and the rest goes on."""

    def __init__(self):
        self.reading = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self):
        seen = None
        while not self._over.wait(PATIENCE):
            if self.reading is not None and self.reading is seen:
                seen.interrupt("hangs")
            seen = self.reading

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._over.set()
        self._thread.join()

    def guard(self, stream):
        self.reading = StreamInterrupter()
        return self.reading.wrap(stream)


class Bench:
    """One client of one server, which all cuts of a row share."""

    def __init__(self, colour, server, watchdog, row, norms):
        self.colour, self.server, self.watchdog = colour, server, watchdog
        self.row, self.norms = row, norms
        self.client = colour.client(server)
        self.reply = None

    def cut(self, record, body, fault, at, chance):
        """Read a body that is cut, and count how that went."""
        asked = len(record["expect"]["choices"])
        params = {"n": asked} if asked > 1 else {}
        self.reply = fault.reply(body, at, chance)
        stream = self.colour.stream(self.server, client=self.client, **params)
        ended, column, partial = self.read(stream)
        result = stream.result
        said = Said(body[:at], self.norms)
        lost, wrong = differences(said, result)
        wanted = said.ending(fault.clean, asked)
        status = {"complete": "complete", "StreamTruncatedError": "truncated"}.get(wanted, "error")
        if (ended, result.status) != (wanted, status):
            wrong.append(f"ended in {ended} ({result.status}), not {wanted} ({status})")
        if partial not in (None, result):
            wrong.append("the error's partial is not the stream's result")
        place = f"{record['id']}, {self.row.fault}, {self.row.colour}, byte {at} of {len(body)}"
        self.row.add(record, column, lost, wrong, place)

    def read(self, stream):
        """Read a stream to its end: gives the end's name, its column, and an error's partial."""
        try:
            self.colour.run(StreamCollector.to_result(self.watchdog.guard(stream)))
        except LLMKitError as error:
            name = type(error).__name__
            truncated = isinstance(error, StreamTruncatedError)
            return name, "truncated" if truncated else "other typed errors", error.partial
        except Exception as error:  # noqa: BLE001  what must not come out is what is looked for
            return repr(error), "untyped errors", None
        if stream.result.status == "interrupted":
            return "a hang", "hangs", None
        return "complete", "complete", None

    def held(self):
        """Count what could be forgotten: threads, tasks, descriptors, connections in use."""
        tasks = self.colour.run(self.colour.wrap_function(count_tasks)())
        pool = self.client._http._transport._pool
        busy = [each for each in pool.connections if not each.is_idle()]
        files = len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0
        return threading.active_count(), tasks, files, len(busy)


def count_tasks():
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # no loop: the sync colour
        return 0


def matrix(colour, row, norms, cuts):
    """Make the cuts (record, body, fault, at, chance), and see what they leave behind."""
    with FakeServer(lambda received: bench.reply) as server, Watchdog() as watchdog:
        bench = Bench(colour, server, watchdog, row, norms)
        cuts = iter(cuts)
        bench.cut(*next(cuts))  # makes what is made once: a loop, its descriptors
        assert wait_until(lambda: server.open_connections == 0)
        gc.collect()
        before = bench.held()
        for cut in cuts:
            bench.cut(*cut)

        def leaks():
            pairs = zip(bench.held(), before, strict=True)
            return sum(max(0, now - then) for now, then in pairs)

        wait_until(lambda: leaks() == 0)
        row.count["leaks"] = leaks()
    failed = any(row.count[name] for name in FAILINGS)
    assert not failed, "\n".join([f"{row.cells()}", *row.problems[:10]])


# The matrix


@pytest.fixture(scope="module")
def records(streams_dir):
    manifest = json.loads((streams_dir / "manifest.json").read_text("utf-8"))
    return [r for r in manifest["records"] if r["api"] == API and not r.get("contested")]


@pytest.fixture(scope="module")
def bodies(records, streams_dir):
    return {record["id"]: (streams_dir / record["file"]).read_bytes() for record in records}


@pytest.fixture(scope="module")
def norms(records):
    """The providers' words for endings, and the common ones."""
    choices = [choice for record in records for choice in record["expect"]["choices"]]
    return {choice.get("finish_reason"): choice.get("finish_norm") for choice in choices}


@pytest.fixture(params=FAULTS, ids=lambda fault: fault.name.replace(" ", "_"))
def fault(request):
    if isinstance(request.param.step, Reset) and sys.platform != "linux":
        pytest.skip("a reset throws away what has arrived and is not read yet; Linux keeps it")
    return request.param


def test_the_second_reading_reads_whole_streams(records, bodies, norms):
    """An oracle that is wrong in the same way as the decoder would be worth nothing."""
    for record in records:
        said = Said(bodies[record["id"]], norms)
        expected = record["expect"]
        assert said.done == expected["done"]
        assert said.api_error == bool(expected.get("error"))
        assert sorted(said.choices) == [choice["index"] for choice in expected["choices"]]
        for choice in expected["choices"]:
            total = said.choices[choice["index"]]
            for name in ("content", "reasoning", "refusal"):
                assert total[name] == choice.get(name, ""), record["id"]
            assert total["role"] == choice.get("role")
            assert total["finish_reason"] == choice.get("finish_norm")
            calls = [
                {name: call[name] for name in call if name != "index"} for call in total["calls"]
            ]
            assert calls == choice.get("tool_calls", []), record["id"]


def shortest(records, *wishes):
    """Give the shortest stream in which some choice has all that is wished for."""

    def fits(record):
        return any(all(wish(choice) for wish in wishes) for choice in record["expect"]["choices"])

    return min(filter(fits, records), key=lambda record: record["bytes"], default=None)


def handmade(name, choices, *payloads):
    """Make a stream that nobody recorded so short."""
    record = {"id": name, "expect": {"choices": [{}] * choices}}
    return record, b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in payloads)


def whole_choice(index, text):
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": "stop"}]}


HANDMADE = [
    handmade("one choice after the other", 2, whole_choice(0, "Hel"), whole_choice(1, "lo")),
    handmade(
        "usage behind an error", 1, {"error": {"message": "m"}}, {"usage": {"total_tokens": 3}}
    ),
]


def short_streams(records, bodies):
    """Give short streams that differ in what can be cut in them."""
    text = shortest(records, lambda choice: choice.get("content"))
    failed = [record for record in records if record["expect"].get("error")]
    chosen = [
        text,
        shortest(records, lambda choice: len(choice.get("tool_calls", ())) > 1),
        shortest(records, lambda choice: choice.get("reasoning"), lambda c: c.get("content")),
        shortest(records, lambda choice: choice["index"] > 0),
        shortest(records, lambda choice: not choice.get("content", "").isascii()),
        *sorted(failed, key=lambda record: record["bytes"])[:2],
    ]
    streams = [(record, bodies[record["id"]]) for record in chosen if record]
    ends = [(text, bodies[text["id"]].replace(b"\n", end)) for end in (b"\r\n", b"\r")]
    return [*streams, *ends, *HANDMADE]


@pytest.mark.timeout(300)
@pytest.mark.no_cover  # it takes twice the time, for lines that tests of their own cover
def test_cut_at_random_bytes(colour, fault, table, records, bodies, norms, pytestconfig):
    slow = pytestconfig.getoption("--slow")
    chance = random.Random(f"{fault.name}, {colour.name}")
    some = records if slow else chance.sample(records, min(len(records), 50))

    def cuts():
        for record in some:
            body = bodies[record["id"]]
            for _ in range(6 if slow else 1):
                yield record, body, fault, chance.choice(fault.positions(body)), chance

    matrix(colour, table.row(fault.name, colour.name), norms, cuts())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.no_cover  # it takes twice the time, for lines that tests of their own cover
def test_cut_at_every_byte(colour, fault, table, records, bodies, norms):
    chance = random.Random(f"{fault.name}, {colour.name}")

    def cuts():
        for record, body in short_streams(records, bodies):
            for at in fault.positions(body):
                yield record, body, fault, at, chance

    matrix(colour, table.row(f"{fault.name}, every byte", colour.name), norms, cuts())
