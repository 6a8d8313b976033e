"""
Recorded streams of many providers and APIs, each folded to what it is known to say.

The streams are other people's and stay outside: give their folder with ``--streams DIR``.
"""

import json
import pathlib
import random
from typing import get_args

import pytest

from llm_kit import StreamAPIError, StreamTruncatedError, normalize
from llm_kit._core.accumulator import Accumulator
from llm_kit.dialects import ChatDialectName
from llm_kit.policies import Limits
from llm_kit.testing import FakeServer, Reply
from llm_kit.wire import WireDecoder

DIALECTS = {
    "openai.chat": "openai",
    "openai.responses": "responses",
    "openai.completions": "completions",
    "anthropic.messages": "anthropic",
    "gemini": "gemini",
    "ollama.chat": "ollama",
    "cohere.v2": "cohere",
}
# Numbers that these APIs do send, and that the expectations leave out.
NOT_EXPECTED = {("cohere.v2", "cached"), ("anthropic.messages", "reasoning")}
NONE = pytest.param(
    None, marks=pytest.mark.skip(reason="needs --streams DIR, data that is not of this project")
)


def load(folder):
    """The records that are not contested, and how many are."""
    records = json.loads((folder / "manifest.json").read_text("utf-8"))["records"]
    plain = [record for record in records if not record.get("contested")]
    return plain, len(records) - len(plain)


def pytest_generate_tests(metafunc):
    names = {"record", "read_record"} & set(metafunc.fixturenames)
    for name in names:
        folder = metafunc.config.getoption("--streams")
        records = load(pathlib.Path(folder))[0] if folder else []
        if name == "read_record":
            records = [record for record in records if "reads" in record]
        named = [pytest.param(record, id=record["id"]) for record in records]
        metafunc.parametrize(name, named or [NONE])


@pytest.fixture(scope="module")
def records(streams_dir):
    """Every record that is not contested."""
    return load(streams_dir)[0]


def random_sizes(record, body):
    """Cuts that are random, and the same in every run."""
    chance = random.Random(record["id"])
    left, sizes = len(body), []
    while left > 0:
        sizes.append(min(left, int(chance.paretovariate(0.6))))
        left -= sizes[-1]
    return sizes


def pieces(body, sizes):
    start = 0
    for size in sizes:
        yield body[start : start + size]
        start += size
    if start < len(body):
        yield body[start:]


def differences(record, total, error):
    """What in a result and its error is not as the record says."""
    expected = record["expect"]
    found = []

    def same(what, given, *accepted):
        if given not in accepted:
            found.append(f"{what}: {given!r:.200}, not {' or '.join(map(repr, accepted))[:200]}")

    same("id", total.id, expected.get("id"))
    same("model", total.model, expected.get("model"))
    usage = expected.get("usage")
    same("has usage", total.usage is not None, usage is not None)
    if usage and total.usage:
        same("usage.input", total.usage.prompt_tokens, *(usage["input"] or [None]))
        same("usage.output", total.usage.completion_tokens, *usage["output"])
        for name in ("total", "reasoning", "cached"):
            if name in usage or (record["api"], name) not in NOT_EXPECTED:
                same(f"usage.{name}", getattr(total.usage, f"{name}_tokens"), usage.get(name))
    same("choices", [c.index for c in total.choices], [c["index"] for c in expected["choices"]])
    for choice, said in zip(total.choices, expected["choices"], strict=False):
        where = f"choices[{choice.index}]."
        same(where + "role", choice.role, said.get("role"))
        same(where + "content", choice.content, said.get("content", ""))
        same(where + "reasoning", choice.reasoning, said.get("reasoning", ""))
        same(where + "refusal", choice.refusal, said.get("refusal", ""))
        words = said.get("finish_reason"), said.get("finish_norm")
        same(where + "finish_reason", choice.finish_reason, *words)
        calls = choice.tool_calls + choice.incomplete_tool_calls
        same(
            where + "tool_calls",
            [{"id": call["id"], **call["function"]} for call in calls],
            said.get("tool_calls", []),
        )
        if "logprobs" in said:
            same(where + "logprobs", len(choice.logprobs["content"]), said["logprobs"])
        if "reasoning_parts" in said:
            parts = [part for part in choice.extra["reasoning_details"] if part.get("summary")]
            same(where + "reasoning_parts", len(parts), said["reasoning_parts"])
        if "audio" in said:
            for name in ("id", "transcript"):
                same(where + name, choice.extra["audio"][name], said["audio"][name])
        if "annotations" in said:
            same(where + "annotations", len(choice.extra["annotations"]), said["annotations"])
    if "server_tool_calls" in expected:
        same("server_tool_calls", *server_tools(record, total, expected["server_tool_calls"]))
    if "citations" in expected:
        same("citations", len(total.extra["citations"]), expected["citations"])
    if "tool_plan" in expected:
        same("tool_plan", total.extra.get("tool_plan"), expected["tool_plan"])
    found.extend(differences_of_endings(expected, error))
    return found


def server_tools(record, total, expected):
    """What the server did by itself, and what is said of it: as far as that goes."""
    calls = total.extra.get("server_tool_calls", [])
    if record["api"] == "gemini":  # its parts are listed there by their names alone
        names = [call["name"] for call in calls]
        for home in ("server_tool_results", "parts"):
            names += [next(iter(part)) for part in total.extra.get(home, [])]
        return sorted(names), sorted(call["name"] for call in expected)
    said = [{name: value for name, value in call.items() if value is not None} for call in expected]
    given = [
        {name: call.get(name) for name in each} for call, each in zip(calls, said, strict=True)
    ]
    return given, said


def differences_of_endings(expected, error):
    reported = expected.get("error")
    if reported:
        if not isinstance(error, StreamAPIError):
            return [f"no StreamAPIError but {error!r}"]
        given = {"message": error.message, "code": error.code, "type": error.type}
        return [] if given == reported else [f"error: {given}, not {reported}"]
    finished = [choice.get("finish_norm") for choice in expected["choices"]]
    wanted = type(None) if finished and all(finished) else StreamTruncatedError
    return [] if isinstance(error, wanted) else [f"{error!r} in place of {wanted.__name__}"]


def decode(record, parts):
    """Fold the parts of a body by hand, without a stream around them."""
    decoder = WireDecoder(DIALECTS[record["api"]], Limits())
    total, chunks, error = Accumulator(), [], None
    for part in parts:
        try:
            decoder.feed(part, chunks)
        except StreamAPIError as failure:
            error = failure  # and read on: usage may stand behind it
    decoder.flush(chunks)
    for chunk in chunks:
        total.feed(chunk, 0.0)
    if error is None and not total.all_finished:
        error = StreamTruncatedError("")
    return total.result(), error


def test_decodes_whole(record, streams_dir):
    body = (streams_dir / record["file"]).read_bytes()
    assert differences(record, *decode(record, [body])) == []


def test_decodes_in_random_cuts(record, streams_dir):
    body = (streams_dir / record["file"]).read_bytes()
    cuts = list(pieces(body, random_sizes(record, body)))
    assert b"".join(cuts) == body
    assert differences(record, *decode(record, cuts)) == []


def test_decodes_as_it_was_read(read_record, streams_dir):
    body = (streams_dir / read_record["file"]).read_bytes()
    cuts = pieces(body, read_record["reads"])
    assert differences(read_record, *decode(read_record, cuts)) == []


def test_normalizes(record, streams_dir):
    body = (streams_dir / record["file"]).read_bytes()
    stream, error = normalize(list(pieces(body, random_sizes(record, body)))), None
    try:
        for _chunk in stream:
            pass
    except (StreamAPIError, StreamTruncatedError) as failure:
        error = failure
    assert error is None or error.partial == stream.result
    assert differences(record, stream.result, error) == []


def test_streams_over_http(colour, records, streams_dir):
    """One server, one client a dialect: they must be as good after each stream as before."""
    asked = [each for each in records if DIALECTS[each["api"]] in get_args(ChatDialectName)]
    bodies = {record["id"]: (streams_dir / record["file"]).read_bytes() for record in records}
    by_id = {record["id"]: record for record in records}

    def reply(received):
        record = by_id[received.headers["x-record"]]
        body = bodies[record["id"]]
        return Reply.raw(body, sizes=random_sizes(record, body))

    failures = {}
    with FakeServer(reply) as server:
        clients = {
            dialect: colour.client(server, dialect=dialect) for dialect in get_args(ChatDialectName)
        }
        for record in asked:
            client = clients[DIALECTS[record["api"]]]
            header = {"x-record": record["id"]}
            stream, error = colour.stream(server, client=client, extra_headers=header), None
            try:
                for _chunk in colour.each(stream):
                    pass
            except (StreamAPIError, StreamTruncatedError) as failure:
                error = failure
            total = error.partial if error else stream.result
            if found := differences(record, total, error):
                failures[record["id"]] = found
        assert len(server.requests) == len(asked)
    assert failures == {}


def test_leaves_out_contested_records_only(streams_dir):
    plain, contested = load(streams_dir)
    assert plain
    assert contested <= len(plain) // 20
