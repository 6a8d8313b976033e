"""Replies are values: what each constructor and each modifier makes of the steps."""

import doctest
import json
import math

import attrs
import pytest

import llm_kit.testing
from llm_kit.sse import encode_event
from llm_kit.testing import Comments, Cut, FakeServer, Pause, Reply, Reset, Stall, completions
from llm_kit.testing import script as script_module
from llm_kit.testing import server as server_module
from llm_kit.testing.steps import COMMENT, body_length

USAGE = {"stream_options": {"include_usage": True}}


def chunks(reply, request=None):
    """The JSON objects of a reply's events; the ``[DONE]`` at the end is checked and left out."""
    body = b"".join(step for step in reply.steps_for(request) if isinstance(step, bytes))
    *events, last = [event.removeprefix("data: ") for event in body.decode().split("\n\n")[:-1]]
    assert last == "[DONE]"
    return [json.loads(event) for event in events]


def joined(objects, key="content", index=0):
    choices = [choice for chunk in objects for choice in chunk["choices"]]
    return "".join(c["delta"].get(key) or "" for c in choices if c["index"] == index)


def finishes(objects):
    return [c["finish_reason"] for chunk in objects for c in chunk["choices"] if not c["delta"]]


class TestText:
    @pytest.mark.parametrize(
        "text", ["", "Hello, world!", " two  spaces \n", "one", "日本語 é\u2028x", "\n\n"]
    )
    def test_words_joined_are_the_text(self, text):
        assert joined(chunks(Reply.text(text))) == text

    def test_order_of_chunks(self):
        got = chunks(Reply.text("Hello, world!", reasoning="Let me think."), {"model": "gpt-4"})
        deltas = [chunk["choices"][0]["delta"] for chunk in got]
        assert deltas == [
            {"role": "assistant", "content": ""},
            {"reasoning_content": "Let"},
            {"reasoning_content": " me"},
            {"reasoning_content": " think."},
            {"content": "Hello,"},
            {"content": " world!"},
            {},
        ]
        assert finishes(got) == ["stop"]
        assert {chunk["model"] for chunk in got} == {"gpt-4"}
        assert {chunk["object"] for chunk in got} == {"chat.completion.chunk"}

    def test_json_is_compact_and_keeps_its_alphabet(self):
        body = b"".join(Reply.text("é").steps_for(None))
        assert '"delta":{"content":"é"}'.encode() in body

    def test_usage_comes_only_when_asked_for(self):
        request = {"messages": [{"role": "user", "content": "a b c"}], **USAGE}
        last = chunks(Reply.text("Hello, world!"), request)[-1]
        assert last["choices"] == []
        assert last["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        for reply, asked in [
            (Reply.text("Hi", usage=False), USAGE),
            (Reply.text("Hi"), {"stream_options": {"include_usage": False}}),
            (Reply.text("Hi"), {"stream_options": None}),
            (Reply.text("Hi"), {}),
            (Reply.text("Hi"), ["not an object"]),
        ]:
            assert all("usage" not in chunk for chunk in chunks(reply, asked))

    def test_choices_take_turns(self):
        got = chunks(Reply.text("a b"), {"n": 2})
        assert [chunk["choices"][0]["index"] for chunk in got] == [0, 1] * 4
        assert joined(got, index=1) == "a b"
        assert finishes(got) == ["stop", "stop"]

    @pytest.mark.parametrize(
        ("n", "asked", "given"), [(3, 1, 3), (None, 2, 2), (None, "x", 1), (None, None, 1)]
    )
    def test_how_many_choices(self, n, asked, given):
        assert len(finishes(chunks(Reply.text("a", n=n), {"n": asked}))) == given

    def test_finish_and_done_can_be_left_out(self):
        assert finishes(chunks(Reply.text("a", finish_reason="length"))) == ["length"]
        assert finishes(chunks(Reply.text("a", finish_reason=None))) == []
        assert b"[DONE]" not in b"".join(Reply.text("a", done=False).steps_for(None))

    def test_several_events_share_a_write(self):
        one, two = Reply.text("a b c"), Reply.text("a b c", per_write=4)
        pieces = two.steps_for(None)
        assert [piece.count(b"data: ") for piece in pieces] == [4, 2]
        assert b"".join(pieces) == b"".join(one.steps_for(None))

    def test_pace_is_between_the_writes(self):
        steps = Reply.text("a", pace=0.5).steps_for(None)
        assert [isinstance(step, Pause) for step in steps] == [False, True] * 3 + [False]
        assert steps[1] == Pause(0.5)


class TestToolCalls:
    def test_arguments_come_in_fragments(self):
        got = chunks(
            Reply.tool_calls(
                [
                    {"name": "get_weather", "arguments": {"city": "Paris"}},
                    {"name": "now", "id": "abc", "arguments": '{"broken'},
                    {"name": "bare"},
                ],
                text="Let me see.",
                fragment=6,
            )
        )
        assert joined(got) == "Let me see."
        deltas = [call for c in got for call in c["choices"][0]["delta"].get("tool_calls", [])]
        assert deltas == [
            {
                "index": 0,
                "id": "call_0",
                "type": "function",
                "function": {"name": "get_weather", "arguments": ""},
            },
            {"index": 0, "function": {"arguments": '{"city'}},
            {"index": 0, "function": {"arguments": '":"Par'}},
            {"index": 0, "function": {"arguments": 'is"}'}},
            {
                "index": 1,
                "id": "abc",
                "type": "function",
                "function": {"name": "now", "arguments": ""},
            },
            {"index": 1, "function": {"arguments": '{"brok'}},
            {"index": 1, "function": {"arguments": "en"}},
            {
                "index": 2,
                "id": "call_2",
                "type": "function",
                "function": {"name": "bare", "arguments": ""},
            },
            {"index": 2, "function": {"arguments": "{}"}},
        ]
        assert finishes(got) == ["tool_calls"]


class TestOtherConstructors:
    def test_events(self):
        reply = Reply.events([{"a": "é"}, "[DONE]", "two\nlines"], pace=1)
        assert reply.steps == (
            'data: {"a":"é"}\n\n'.encode(),
            Pause(1),
            b"data: [DONE]\n\n",
            Pause(1),
            b"data: two\ndata: lines\n\n",
        )
        assert reply.headers == {"content-type": "text/event-stream"}

    @pytest.mark.parametrize(
        ("sizes", "pieces"),
        [
            (None, (b"abcdef",)),
            ([2, 3], (b"ab", b"cde", b"f")),
            ([6], (b"abcdef",)),
            ([4, 4, 4], (b"abcd", b"ef")),
            ([1] * 6, (b"a", b"b", b"c", b"d", b"e", b"f")),
        ],
    )
    def test_raw_is_cut_into_pieces(self, sizes, pieces):
        assert Reply.raw(b"abcdef", sizes=sizes).steps == pieces

    def test_raw_may_be_empty_or_of_another_type(self):
        assert Reply.raw(b"").steps == ()
        assert Reply.raw(b"<p>", content_type="text/html").headers == {"content-type": "text/html"}

    def test_json(self):
        reply = Reply.json({"a": [1, None]}, status=201)
        assert reply.steps == (b'{"a":[1,null]}',)
        assert (reply.status, reply.framing) == (201, "length")
        assert reply.headers["content-type"] == "application/json"

    @pytest.mark.parametrize(
        ("reply", "message", "kind", "code"),
        [
            (Reply.error(429), "Too Many Requests", "invalid_request_error", None),
            (Reply.error(500, "broken", code=7), "broken", "server_error", 7),
            (Reply.error(529, code="busy"), "error", "server_error", "busy"),
        ],
    )
    def test_error(self, reply, message, kind, code):
        (body,) = reply.steps
        error = json.loads(body)["error"]
        assert error == {"message": message, "type": kind, "param": None, "code": code}

    def test_error_with_headers(self):
        reply = Reply.error(429, headers={"Retry-After": "2"})
        assert reply.status == 429
        assert reply.headers == {"content-type": "application/json", "retry-after": "2"}


ABC = Reply((b"ab", Pause(1), b"cd", Pause(1), b"ef"))
A, P, B, _, C = ABC.steps
ERROR = encode_event('{"error":{"message":"the model failed","type":"server_error","code":500}}')


class TestModifiers:
    @pytest.mark.parametrize(
        ("reply", "steps"),
        [
            (ABC.stall(), (Stall(), A, P, B, P, C)),
            (ABC.stall(after=2), (A, P, B, Stall(), P, C)),
            (ABC.stall(after=3), (A, P, B, P, C, Stall())),
            (ABC.stall(after=9), (A, P, B, P, C, Stall())),
            (ABC.comments(after=1), (A, Comments(0.005), P, B, P, C)),
            (ABC.comments(interval=1), (Comments(1), A, P, B, P, C)),
            (ABC.cut(), (Cut(), A, P, B, P, C)),
            (ABC.cut(at=1), (b"a", Cut(), b"b", P, B, P, C)),
            (ABC.cut(at=2), (A, Cut(), P, B, P, C)),
            (ABC.reset(at=3), (A, P, b"c", Reset(), b"d", P, C)),
            (ABC.reset(at=6), (A, P, B, P, C, Reset())),
            (ABC.reset(at=7), (A, P, B, P, C, Reset())),
            (ABC.error_event(after=1), (A, ERROR)),
            (ABC.error_event(error={}), (b'data: {"error":{}}\n\n',)),
        ],
    )
    def test_steps(self, reply, steps):
        assert reply.steps == steps
        assert ABC.steps == (A, P, B, P, C)

    def test_they_wait_for_the_request_where_the_reply_does(self):
        whole = Reply.text("a b").steps_for({"n": 2})
        assert Reply.text("a b").stall(after=3).steps_for({"n": 2}) == (
            *whole[:3],
            Stall(),
            *whole[3:],
        )
        cut = Reply.text("a b").cut(at=5).stall(after=1).steps_for({"n": 2})
        assert cut[:3] == (b"data:", Stall(), Cut())

    def test_head(self):
        assert ABC.hang().delay == math.inf
        assert ABC.hang(0.5).delay == 0.5
        assert ABC.with_framing("close").framing == "close"
        reply = ABC.with_headers({"X-A": "1", "Content-Type": "text/plain"})
        assert reply.headers == {"content-type": "text/plain", "x-a": "1"}

    def test_length_of_the_body(self):
        assert body_length(ABC.cut(at=1).steps) == 6
        assert body_length((b"a", Comments(count=3))) == 1 + 3 * len(COMMENT)
        assert body_length(ABC.comments(after=1).steps) > 2**30


class TestValues:
    def test_replies_are_immutable_values(self):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            ABC.status = 500
        with pytest.raises(TypeError):
            ABC.headers["a"] = "b"
        assert Reply.raw(b"ab").stall() == Reply((Stall(), b"ab"))

    def test_empty_pieces_are_dropped(self):
        assert Reply((b"", b"a", b"")).steps == (b"a",)
        assert Reply(lambda request: (b"", b"a")).steps_for(None) == (b"a",)

    @pytest.mark.parametrize(
        ("wrong", "error", "message"),
        [
            (lambda: Reply.text(123), TypeError, "expected Reply.text(text) as str, got int: 123"),
            (lambda: Reply.text("", reasoning=None), TypeError, "expected reasoning as str"),
            (lambda: Reply.text("", pace="1"), TypeError, "Pause(seconds=...) in seconds"),
            (lambda: Reply.text("", pace=-1), ValueError, "zero or more, got -1"),
            (lambda: Reply.text("", pace=math.nan), ValueError, "zero or more, got nan"),
            (lambda: Reply.text("", per_write=0), ValueError, "per_write of at least 1, got 0"),
            (lambda: Reply.tool_calls(["a"]), TypeError, 'each call as {"name": ...'),
            (lambda: Reply.tool_calls([{}]), ValueError, "a call has no name: {}"),
            (lambda: Reply.tool_calls([], text=b""), TypeError, "expected text as str"),
            (lambda: Reply.tool_calls([], fragment=0), ValueError, "fragment of at least 1"),
            (lambda: Reply.events([b"a"]), TypeError, "each event as a dict or a str, got bytes"),
            (lambda: Reply.raw("a"), TypeError, "expected Reply.raw(body) as bytes, got str"),
            (lambda: Reply.raw(b"a", sizes=[0]), ValueError, "each of sizes of at least 1"),
            (lambda: Reply.raw(b"a", sizes=["1"]), TypeError, "each of sizes as a whole number"),
            (lambda: Reply.error("429"), TypeError, "status as a whole number, got str: '429'"),
            (lambda: ABC.stall(after=-1), ValueError, "after of at least 0, got -1"),
            (lambda: ABC.cut(at=1.5), TypeError, "at as a whole number"),
            (lambda: ABC.hang(-1), ValueError, "Reply(delay=...) in seconds"),
            (lambda: ABC.comments(interval=-1), ValueError, "Comments(interval=...)"),
            (lambda: ABC.with_headers({"a": 1}), TypeError, "names and values are str"),
            (lambda: ABC.with_framing("gzip"), ValueError, "gzip"),
            (lambda: Reply(("text",)), TypeError, "expected steps of bytes, Pause"),
            (lambda: FakeServer("Hi"), TypeError, "each reply as a Reply, or a function"),
        ],
    )
    def test_wrong_arguments_say_what_is_expected(self, wrong, error, message):
        with pytest.raises(error) as caught:
            wrong()
        assert message in str(caught.value)


class TestEcho:
    @pytest.mark.parametrize(
        ("request_json", "quoted"),
        [
            ({"messages": [{"role": "user", "content": " Hi there "}]}, "“Hi there”"),
            (
                {
                    "messages": [
                        {"role": "user", "content": "first"},
                        {"role": "user", "content": [{"text": "second"}, {"image": 1}, "x"]},
                        {"role": "assistant", "content": "third"},
                    ]
                },
                "“second”",
            ),
            ({"messages": ["odd"]}, "You said nothing."),
            ({"messages": "odd"}, "You said nothing."),
            ({}, "You said nothing."),
            (None, "You said nothing."),
        ],
    )
    def test_it_quotes_the_last_user_message(self, request_json, quoted):
        assert quoted in completions.echo(request_json)


@pytest.mark.parametrize("module", [llm_kit.testing, script_module, server_module])
def test_the_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
