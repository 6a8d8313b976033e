"""The check that every dialect must pass: it passes good ones, and names each fault of bad ones."""

import json

import pytest

from llm_kit import Chat, ChatDialect, Chunk, ToolCallDelta
from llm_kit.testing import check_dialect

WORDS = [{"word": "Hel"}, {"word": "lo", "index": 0}, {"end": "stop", "word": ""}]


def body_of(*payloads):
    return b"".join(json.dumps(payload).encode() + b"\n" for payload in payloads)


class Words(ChatDialect):
    """A dialect without faults; each test gives it one."""

    name = "words"

    def __init__(self, quirks):
        self.done = False

    @staticmethod
    def recognises(payload):
        return "word" in payload

    def read(self, payload, out, raw):
        word, end = payload.get("word"), payload.get("end")
        if isinstance(word, str) and (word or end == "stop"):
            finish = "stop" if end == "stop" else None
            out.append(Chunk(word, finish_reason=finish, raw=raw))
        self.done = end == "stop"

    @staticmethod
    def path(model):
        return "/words"

    @staticmethod
    def request_headers(api_key):
        return {"x-key": api_key} if api_key else {}

    @staticmethod
    def request_body(chat):
        return {
            "model": chat.model,
            "chat": chat.messages,
            "functions": chat.tools,
            **chat.params,
        }


def test_a_dialect_without_faults_passes():
    result = check_dialect(Words, body_of(*WORDS))
    assert (result.content, result.finish_reason) == ("Hello", "stop")
    assert result.status == "complete"


def test_a_dialect_that_only_reads_passes():
    class Reading:
        name = "reading"
        __init__, read, recognises = Words.__init__, Words.read, staticmethod(Words.recognises)

    assert check_dialect(Reading, body_of(*WORDS)).content == "Hello"


class Nameless(Words):
    name = None


class Listing(Words):
    def read(self, payload, out, raw):
        return [Chunk("x")]


class Silent(Words):
    def read(self, payload, out, raw):
        pass


class Waiting(Words):
    async def read(self, payload, out, raw):
        pass


class Raising(Words):
    def read(self, payload, out, raw):
        payload["end"]["x"]


class Texting(Words):
    def read(self, payload, out, raw):
        out.append("x")


class Alone(Words):
    def __init__(self):
        self.done = False


class Taken(Words):
    name = "openai"


class Endless(Words):
    def read(self, payload, out, raw):
        super().read({**payload, "end": None}, out, raw)


class Changing(Words):
    def read(self, payload, out, raw):
        super().read(payload, out, raw)
        payload.clear()


class Rawless(Words):
    def read(self, payload, out, raw):
        super().read(payload, out, None)


class Early(Words):
    def read(self, payload, out, raw):
        super().read({"end": "stop", **payload}, out, raw)
        self.done = payload.get("end") == "stop"


class Blind(Words):
    @staticmethod
    def recognises(payload):
        return False


class Greedy(Words):
    @staticmethod
    def recognises(payload):
        return True


class Shared(Words):
    seen = []  # noqa: RUF012  the fault is just that

    def read(self, payload, out, raw):
        super().read(payload, out, raw)
        self.seen.append(payload)
        for chunk in out:
            chunk.id = str(len(self.seen) % 7)


class Done(Words):
    def __init__(self, quirks):
        self.done = None


class Fragile(Words):
    def read(self, payload, out, raw):
        if "index" in payload:
            payload["index"] + 1
        super().read(payload, out, raw)


def with_field(**fields):
    class Wrong(Words):
        def read(self, payload, out, raw):
            super().read(payload, out, raw)
            for chunk in out:
                for name, value in fields.items():
                    setattr(chunk, name, value)

    return Wrong


def with_request(**methods):
    return type("Wrong", (Words,), {name: staticmethod(value) for name, value in methods.items()})


def emptied(chat):
    body = Words.request_body(chat)
    chat.messages.pop()
    return body


@pytest.mark.parametrize(
    ("dialect", "words"),
    [
        (Nameless, "`name` must be a string"),
        (Taken, "'openai' is the name of another dialect"),
        (Listing, "read.. gives nothing back"),
        (Waiting, "it can't wait"),
        (Silent, "must give chunks, and gave StreamProtocolError"),
        (Raising, "must give chunks, and gave KeyError"),
        (Texting, "only Chunks go into `out`, not 'x'"),
        (Alone, "must give chunks, and gave TypeError"),
        (Endless, "must give a finish_reason for every choice"),
        (Changing, "must not change the object"),
        (Rawless, "`raw` must be the object"),
        (Early, "before the answer was whole"),
        (Blind, "must know at least one object"),
        (Greedy, r"takes this for its own, and it is not: \{\}"),
        (Shared, "must not depend on how the body was cut|must not have anything in common"),
        (Done, "`done` must be False"),
        (Fragile, "must give chunks, nothing or an LLMKitError; this one gave TypeError"),
        (with_field(role=""), "wrong type: role"),
        (with_field(model=5), "wrong type: model"),
        (with_field(reasoning=None), "wrong type: reasoning"),
        (with_field(index="0"), "wrong type: index"),
        (with_field(usage={}), "wrong type: usage"),
        (with_field(extra=[]), "wrong type: extra"),
        (with_field(tool_calls=({},)), "wrong type: tool_calls"),
        (with_request(request_body=emptied), "must not change what it is given"),
        (with_request(request_body=lambda chat: {"model": chat.model}), "does not say 'Be brief.'"),
        (
            with_request(request_body=lambda chat: Words.request_body(Chat(chat.messages, "m"))),
            "does not say 'the-model'",
        ),
        (
            with_request(
                request_body=lambda chat: {**Words.request_body(chat), "field_of_my_own": None}
            ),
            "params must go into the body untouched",
        ),
        (with_request(path=lambda model: "words"), "must begin with a slash"),
        (with_request(request_headers=lambda key: {}), "the headers lack the key"),
        (with_request(request_headers=lambda key: {"x": f"Bearer {key}"}), "without a key"),
    ],
)
def test_each_fault_is_named(dialect, words):
    with pytest.raises(AssertionError, match=words):
        check_dialect(dialect, body_of(*WORDS))


def test_an_object_that_another_dialect_takes_for_its_own():
    class Chosen(Words):
        @staticmethod
        def recognises(payload):
            return "choices" in payload and "word" in payload

    payload = {"word": "x", "end": "stop", "choices": [{"delta": {}}]}
    with pytest.raises(AssertionError, match=r"\['openai'\] take this object for theirs too"):
        check_dialect(Chosen, body_of(payload))


@pytest.mark.parametrize(
    ("dialect", "body", "words"),
    [
        ("words", b"", "give the class"),
        (Words(set()), b"", "give the class"),
        (Words, "{}", "bytes"),
    ],
)
def test_what_the_check_is_given(dialect, body, words):
    with pytest.raises(AssertionError, match=words):
        check_dialect(dialect, body)


def test_a_body_without_objects():
    with pytest.raises(AssertionError, match="with at least one object"):
        check_dialect(Words, b"")


def test_lists_are_garbled_too():
    class Listing(Words):
        def read(self, payload, out, raw):
            calls = tuple(ToolCallDelta(0, call["id"]) for call in payload.get("calls") or ())
            out.append(Chunk(tool_calls=calls, finish_reason="tool_calls", raw=raw))

    with pytest.raises(AssertionError, match=r"gave .*Error"):
        check_dialect(Listing, body_of({"word": "", "calls": [{"id": "a"}]}))
