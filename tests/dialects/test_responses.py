import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_kit import Chat
from llm_kit._core.accumulator import Accumulator
from llm_kit.dialects.responses import ResponsesDialect
from llm_kit.errors import StreamAPIError, StreamProtocolError

HEAD = {"id": "resp_1", "object": "response", "created_at": 1700000000, "model": "gpt-x"}
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 17,
}

# What a fuzzed event is made of: the API's own words where they may matter, and anything.
NAMES = st.sampled_from(
    [
        *("type", "item", "output_index", "item_id", "delta", "part", "content", "summary"),
        *("output", "text", "id", "call_id", "name", "arguments", "logprobs", "annotations"),
        *("usage", "status", "error", "created_at", "role", "content_index", "annotation"),
    ]
)
KINDS = st.none() | st.sampled_from(
    [
        *("response.created", "response.completed", "response.failed", "response.tomorrow"),
        *("response.output_text.delta", "response.output_text.done", "error"),
        *("response.output_item.added", "response.output_item.done"),
        *("response.content_part.done", "response.output_text.annotation.added"),
        *("response.function_call_arguments.done", "response.mcp_call_arguments.delta"),
        *("message", "reasoning", "function_call", "mcp_call", "output_text", "summary_text"),
    ]
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | KINDS
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries({"type": KINDS}, optional={"id": inner, "content": inner})
        | st.dictionaries(NAMES, inner, max_size=5)
    ),
    max_leaves=12,
)
FIELDS = dict.fromkeys(
    ("item", "part", "response", "delta", "output_index", "item_id", "object", "error"), VALUES
)


def created():
    return {"type": "response.created", "response": {**HEAD, "status": "in_progress", "output": []}}


def ended(*output, kind="completed", **fields):
    response = {**HEAD, "status": kind, "output": list(output), "usage": USAGE, **fields}
    return {"type": f"response.{kind}", "response": response}


def event(kind, place=0, **fields):
    return {"type": f"response.{kind}", "output_index": place, **fields}


def added(item, place=0):
    return event("output_item.added", place, item=item)


def done(item, place=0):
    return event("output_item.done", place, item=item)


def message(text=None, ident="msg_1", **fields):
    parts = [] if text is None else [output_text(text)]
    return {"type": "message", "id": ident, "role": "assistant", "content": parts, **fields}


def output_text(text, **fields):
    return {"type": "output_text", "text": text, "annotations": [], **fields}


def call(arguments="", ident="fc_1", call_id="call_1", name="look"):
    return {
        "type": "function_call",
        "id": ident,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def reasoning(*summaries, **fields):
    parts = [{"type": "summary_text", "text": text} for text in summaries]
    return {"type": "reasoning", "id": "rs_1", "summary": parts, **fields}


def text_delta(text, place=0, **fields):
    return event("output_text.delta", place, content_index=0, delta=text, **fields)


def read(*events):
    """The chunks of a stream, read until it says that it is over."""
    dialect, chunks = ResponsesDialect(set()), []
    for payload in events:
        assert not dialect.done
        dialect.read(payload, chunks, payload)
    return chunks


def fold(*events):
    """What a stream adds up to."""
    total = Accumulator()
    for chunk in read(*events):
        total.feed(chunk, 0.0)
    return total.result()


def plain(calls):
    return [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls]


def fold_with_quirks(*events):
    quirks, total = set(), Accumulator()
    dialect, chunks = ResponsesDialect(quirks), []
    for payload in events:
        dialect.read(payload, chunks, payload)
    for chunk in chunks:
        total.feed(chunk, 0.0)
    return total.result(), quirks


class TestText:
    def test_every_chunk_names_the_response_and_keeps_its_event(self):
        delta = text_delta("Hi")
        first, second = read(created(), delta)
        assert (first.role, first.delta) == ("assistant", "")
        assert (second.delta, second.raw) == ("Hi", delta)
        for chunk in (first, second):
            assert (chunk.id, chunk.model, chunk.created) == ("resp_1", "gpt-x", 1700000000)

    def test_the_beginning_is_told_once(self):
        progress = {**created(), "type": "response.in_progress"}
        assert len(read(created(), progress)) == 1

    def test_a_time_with_a_fraction_of_zero_is_whole(self):
        began = created()
        began["response"] = {**began["response"], "created_at": 1700000000.0}
        assert read(began)[0].created == 1700000000
        began["response"]["created_at"] = float("inf")
        assert read(began)[0].created is None

    def test_text_counts_once_though_it_is_said_five_times(self):
        result = fold(
            created(),
            added(message()),
            event("content_part.added", content_index=0, part=output_text("")),
            text_delta("Hello "),
            text_delta("you", snapshot="Hello you"),
            event("output_text.done", content_index=0, text="Hello you", parsed={"a": 1}),
            event("content_part.done", content_index=0, part=output_text("Hello you")),
            done(message("Hello you")),
            ended(message("Hello you")),
        )
        assert (result.content, result.role, result.finish_reason) == (
            "Hello you",
            "assistant",
            "stop",
        )

    @pytest.mark.parametrize(
        "carrier",
        [
            event("output_text.done", content_index=0, text="Hi"),
            event("content_part.done", content_index=0, part=output_text("Hi")),
            done(message("Hi")),
            ended(message("Hi")),
        ],
    )
    def test_text_that_only_one_event_carries_is_read(self, carrier):
        events = [created(), carrier]
        if carrier["type"] != "response.completed":
            events.append(ended(message("Hi")))
        assert fold(*events).content == "Hi"

    def test_text_that_only_the_announcement_carries_is_read_at_the_end(self):
        assert fold(created(), added(message("Hi")), ended()).content == "Hi"

    def test_deltas_are_the_only_answer_where_the_last_output_is_empty(self):
        assert fold(created(), text_delta("Hi"), ended()).content == "Hi"

    def test_deltas_count_where_the_whole_differs(self):
        result = fold(
            created(),
            added(message()),
            text_delta("Got"),
            event("output_text.done", content_index=0, text="Got it"),
            done(message("Got it")),
            ended(message("Got it")),
        )
        assert result.content == "Got"

    def test_ids_that_rotate_are_one_item_by_its_place(self):
        result = fold(
            added(message(ident="a")),
            text_delta("Hi", item_id="b"),
            event("output_text.done", content_index=0, text="Hi", item_id="c"),
            done(message("Hi", ident="d")),
            ended(message("Hi", ident="e")),
        )
        assert result.content == "Hi"

    def test_items_without_a_place_go_by_their_id(self):
        first, second = message("One", "a"), message("Two", "b")
        lone = [{"type": "response.output_item.done", "item": item} for item in (first, second)]
        delta = {"type": "response.output_text.delta", "item_id": "a", "delta": "One"}
        assert fold(created(), delta, *lone, ended(first, second)).content == "OneTwo"

    def test_a_place_that_is_used_again_holds_another_item(self):
        result = fold(
            added(message(ident="a")),
            text_delta("One", item_id="a"),
            done(message("One", "a")),
            added(message(ident="b")),
            event("output_text.done", content_index=0, text="Two", item_id="b"),
            # and the first one once more, told by its id
            event("output_text.done", content_index=0, text="One", item_id="a"),
            ended(),
        )
        assert result.content == "OneTwo"

    def test_a_place_that_is_used_again_without_ids_holds_another_item(self):
        events = []
        for text in ("One", "Two"):
            item = {"type": "message", "content": [output_text(text)]}
            events += [added(item), added(item), done(item)]
        assert fold(*events, ended()).content == "OneTwo"

    def test_places_may_be_counted_in_another_way_in_the_last_output(self):
        result = fold(
            added(reasoning()),
            added(message(ident="tmp"), 1),
            event("output_text.delta", 1, content_index=1, delta="Hi"),
            done(message("Hi", "tmp"), 1),
            ended(message("Hi", "msg_9")),
        )
        assert result.content == "Hi"

    def test_an_item_that_stands_twice_in_the_last_output_counts_once(self):
        assert (
            fold(created(), added(message()), ended(message("Hi"), message("Hi"))).content == "Hi"
        )

    def test_the_role_of_a_message_counts_where_no_response_began(self):
        assert read(added(message()))[0].role == "assistant"
        assert read(added({"type": "message"})) == []

    def test_what_a_message_says_beside_its_text_is_kept(self):
        result = fold(
            created(),
            added(message(phase="commentary", status=None)),
            added(message(ident="msg_2", phase="final_answer"), 1),
            ended(),
        )
        assert result.extra["message_items"] == [
            {"index": 0, "id": "msg_1", "phase": "commentary"},
            {"index": 1, "id": "msg_2", "phase": "final_answer"},
        ]

    def test_a_refusal_is_no_text(self):
        part = {"type": "refusal", "refusal": "I won't"}
        result = fold(
            event("refusal.delta", content_index=0, delta="I "),
            event("refusal.delta", content_index=0, delta="won't"),
            event("refusal.done", content_index=0, refusal="I won't"),
            event("content_part.done", content_index=0, part=part),
            ended({**message(), "content": [part]}),
        )
        assert (result.refusal, result.content, result.finish_reason) == ("I won't", "", "stop")

    def test_parts_of_unknown_types_are_kept(self):
        part = {"type": "output_image", "url": "https://example.com"}
        item = {**message("Hi"), "content": [output_text("Hi"), part]}
        result = fold(event("content_part.done", part=part), done(item), ended(item))
        assert result.extra["content_parts"] == [part]

    def test_logprobs_of_deltas_are_joined_and_not_repeated(self):
        one, two = {"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0}
        result = fold(
            text_delta("a", logprobs=[one]),
            text_delta("b", logprobs=[two]),
            event("output_text.done", content_index=0, text="ab", logprobs=[one, two]),
            ended(message("ab")),
        )
        assert result.logprobs == {"content": [one, two]}

    def test_logprobs_that_only_the_whole_text_has_are_read(self):
        one = {"token": "a", "logprob": -1.0}
        result = fold(
            text_delta("a", logprobs=[]),
            event("output_text.done", content_index=0, text="a", logprobs=[one]),
            done({**message(), "content": [output_text("a", logprobs=[one])]}),
            ended(),
        )
        assert (result.content, result.logprobs) == ("a", {"content": [one]})


class TestAnnotations:
    NOTE = {"type": "file_citation", "file_id": "f", "index": 9}  # noqa: RUF012
    NESTED = {"type": "file_citation", "file_citation": {"file_id": "f", "index": 9}}  # noqa: RUF012

    def test_those_of_one_place_stay_apart_and_come_once(self):
        item = {**message(), "content": [output_text("x", annotations=[self.NOTE, self.NOTE])]}
        result = fold(
            text_delta("x"),
            event("output_text.annotation.added", annotation=self.NOTE),
            event("output_text.annotation.added", annotation=self.NOTE),
            done(item),
            ended(item),
        )
        assert result.extra["annotations"] == [self.NESTED, self.NESTED]

    def test_those_that_only_the_item_has_are_read(self):
        item = {**message(), "content": [output_text("x", annotations=[self.NOTE])]}
        assert fold(text_delta("x"), done(item), ended(item)).extra["annotations"] == [self.NESTED]


class TestReasoning:
    def test_summary_parts_are_joined_and_kept_apart(self):
        whole = reasoning("One", "Two")
        result = fold(
            created(),
            added(reasoning()),
            event("reasoning_summary_text.delta", summary_index=0, delta="O"),
            event("reasoning_summary_text.delta", summary_index=0, delta="ne"),
            event("reasoning_summary_text.done", summary_index=0, text="One"),
            event("reasoning_summary_text.delta", summary_index=1, delta="Two"),
            event("reasoning_summary_part.done", summary_index=1, part=whole["summary"][1]),
            done(whole),
            ended(whole),
        )
        assert result.reasoning == "OneTwo"
        assert result.extra["reasoning_details"] == [
            {
                "type": "reasoning.summary",
                "summary": text,
                "id": "rs_1",
                "format": "openai-responses-v1",
                "index": index,
            }
            for index, text in enumerate(["One", "Two"])
        ]

    def test_a_thought_and_its_summary_are_not_the_same_thing_twice(self):
        thoughts = [
            event("reasoning_text.delta", content_index=0, delta="Long"),
            event("reasoning_summary_text.delta", summary_index=0, delta="Short"),
        ]
        assert fold(*thoughts, ended()).reasoning == "Long"
        assert fold(*thoughts[::-1], ended()).reasoning == "Short"
        kept = fold(*thoughts, ended()).extra["reasoning_details"]
        assert [detail["type"] for detail in kept] == ["reasoning.text", "reasoning.summary"]

    def test_a_thought_that_only_the_item_has_is_read(self):
        whole = reasoning("Short", content=[{"type": "reasoning_text", "text": "Long"}])
        assert fold(done(whole), ended(whole)).reasoning == "Long"

    def test_a_thought_comes_before_the_text_even_at_one_place(self):
        part = {"type": "reasoning_text", "text": "Hm"}
        result = fold(
            event("reasoning.delta", content_index=0, delta="Hm"),
            text_delta("Hi"),
            event("content_part.done", content_index=0, part=part),
            ended(reasoning(content=[part]), message("Hi")),
        )
        assert (result.reasoning, result.content) == ("Hm", "Hi")

    def test_encrypted_reasoning_is_taken_when_it_is_finished_and_once(self):
        result = fold(
            created(),
            added(reasoning(encrypted_content="half")),
            done(reasoning(encrypted_content="whole")),
            ended(reasoning(encrypted_content="sealed anew")),
        )
        (detail,) = result.extra["reasoning_details"]
        assert (detail["type"], detail["data"]) == ("reasoning.encrypted", "whole")
        assert result.reasoning == ""

    def test_reasoning_that_says_nothing_gives_no_chunk(self):
        assert read(added(reasoning()), done(reasoning())) == []


class TestToolCalls:
    def test_a_call_comes_in_pieces(self):
        result = fold(
            created(),
            added(call()),
            event("function_call_arguments.delta", delta='{"a"', snapshot='{"a"'),
            event("function_call_arguments.delta", delta=": 1}"),
            event("function_call_arguments.done", arguments='{"a": 1}', name="look"),
            done(call('{"a": 1}')),
            ended({**call('{"a": 1}'), "parsed_arguments": {"a": 1}}),
        )
        assert result.tool_calls == [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "look", "arguments": '{"a": 1}'},
            }
        ]
        assert result.finish_reason == "tool_calls"

    @pytest.mark.parametrize(
        "events",
        [
            [added(call()), event("function_call_arguments.done", arguments="{}"), done(call())],
            [added(call()), done(call("{}"))],
            [done(call("{}"))],
            [added(call("{}"))],
            [added(call("{}")), event("function_call_arguments.delta", delta="{}")],
            [added(call()), done(call({}))],
            [],
        ],
    )
    def test_arguments_count_once_wherever_they_are(self, events):
        result = fold(created(), *events, ended(*([] if events else [call("{}")])))
        assert plain(result.tool_calls) == [("call_1", "look", "{}")]
        assert plain(fold(created(), *events, ended(call("{}"))).tool_calls) == [
            ("call_1", "look", "{}")
        ]

    def test_a_call_that_was_not_announced_is_named_later(self):
        result = fold(
            event("function_call_arguments.delta", delta="{}"),
            event("function_call_arguments.done", arguments="{}", name="look"),
            done(call("{}")),
            ended(),
        )
        assert plain(result.tool_calls) == [("call_1", "look", "{}")]

    def test_parallel_calls_are_told_apart(self):
        second = call(ident="fc_2", call_id="call_2", name="hear")
        result = fold(
            added(call()),
            added(second, 1),
            event("function_call_arguments.delta", 1, delta='{"b": 2}'),
            event("function_call_arguments.delta", 0, delta='{"a": 1}'),
            ended(),
        )
        assert plain(result.tool_calls) == [
            ("call_1", "look", '{"a": 1}'),
            ("call_2", "hear", '{"b": 2}'),
        ]

    def test_a_call_without_an_id_gets_none(self):
        result = fold(done({"type": "function_call", "name": "f", "arguments": "{}"}), ended())
        assert plain(result.tool_calls) == [(None, "f", "{}")]

    def test_a_custom_tools_input_is_its_arguments(self):
        item = {
            "type": "custom_tool_call",
            "id": "ct_1",
            "call_id": "call_1",
            "name": "sql",
            "input": "",
        }
        result = fold(
            created(),
            added(item),
            event("custom_tool_call_input.delta", delta="SELECT "),
            event("custom_tool_call_input.delta", delta="1"),
            event("custom_tool_call_input.done", input="SELECT 1"),
            done({**item, "input": "SELECT 1"}),
            ended({**item, "input": "SELECT 1"}),
        )
        assert plain(result.tool_calls) == [("call_1", "sql", "SELECT 1")]
        assert result.tool_calls[0]["type"] == "custom"
        assert result.finish_reason == "tool_calls"

    def test_what_the_server_wants_back_of_a_call_stays_on_it(self):
        item = {**call("{}"), "namespace": "crm", "caller": {"type": "program"}, "parsed": 1}
        (made,) = fold(done(item), ended()).tool_calls
        assert made.keys() == {"id", "type", "function", "namespace", "caller"}

    def test_a_cut_answer_has_no_finished_call(self):
        result = fold(
            added(call()),
            event("function_call_arguments.delta", delta="{}"),
            ended(kind="incomplete", incomplete_details={"reason": "max_output_tokens"}),
        )
        assert result.tool_calls == []
        assert plain(result.incomplete_tool_calls) == [("call_1", "look", "{}")]


class TestServersTools:
    def test_they_are_no_calls_of_the_client(self):
        item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"q": 1}}
        result = fold(
            created(),
            added({"type": "web_search_call", "id": "ws_1", "status": "in_progress"}),
            event("web_search_call.searching", item_id="ws_1"),
            done(item),
            ended(item),
        )
        assert result.tool_calls == []
        assert result.finish_reason == "stop"
        assert result.extra["server_tool_calls"] == [
            {"index": 0, "id": "ws_1", "name": "web_search_call"}
        ]
        assert result.extra["server_tool_results"] == [item]

    def test_their_code_can_be_seen_as_it_is_written(self):
        result = fold(
            added({"type": "code_interpreter_call", "id": "ci_1", "code": ""}),
            event("code_interpreter_call_code.delta", delta="1 +"),
            event("code_interpreter_call_code.delta", delta=" 1"),
            event("code_interpreter_call_code.done", code="1 + 1"),
            ended({"type": "code_interpreter_call", "id": "ci_1", "code": "1 + 1"}),
        )
        (made,) = result.extra["server_tool_calls"]
        assert made["code_interpreter_call_code"] == "1 + 1"
        assert result.extra["server_tool_results"][0]["code"] == "1 + 1"

    def test_first_pictures_and_unknown_deltas_are_kept(self):
        picture = event("image_generation_call.partial_image", partial_image_b64="aGk=")
        result = fold(
            picture,
            event("audio.transcript.delta", delta="Hel"),
            event("audio.transcript.delta", delta="lo"),
            ended(),
        )
        assert result.extra == {"partial_images": [picture], "audio.transcript": "Hello"}

    def test_those_that_only_the_last_output_has_are_read(self):
        items = [{"type": "compaction", "id": "cmp_1"}, {"type": "mcp_call", "id": "mcp_1"}]
        result = fold(created(), ended(*items))
        assert [c["name"] for c in result.extra["server_tool_calls"]] == ["compaction", "mcp_call"]
        assert result.extra["server_tool_results"] == items


class TestEventsWithoutAPlace:
    """Some servers name neither the place of an item nor its id, or draw its id anew."""

    @pytest.mark.parametrize(
        "names",
        [({},) * 4, ({"item_id": "a"}, {"item_id": "b"}, {"item_id": "c"}, {"item_id": "d"})],
    )
    @pytest.mark.parametrize("announced", [False, True])
    def test_a_text_comes_once(self, names, announced):
        bare = message("Hello world", ident=None)
        begun = {"type": "response.output_item.added", "item": {**bare, "content": []}}
        result, quirks = fold_with_quirks(
            *[begun] * announced,
            {"type": "response.output_text.delta", "delta": "Hello ", **names[0]},
            {"type": "response.output_text.delta", "delta": "world", **names[1]},
            {"type": "response.output_text.done", "text": "Hello world", **names[2]},
            {"type": "response.output_item.done", "item": {**bare, "id": names[3].get("item_id")}},
            ended(bare),
        )
        assert result.content == "Hello world"
        assert quirks == {"item_unnamed"}

    def test_calls_are_told_apart_by_their_order_and_call_ids(self):
        def piece(delta):
            return {"type": "response.function_call_arguments.delta", "delta": delta}

        def told(kind, number, arguments):
            item = call(arguments, None, f"call_{number}", f"f{number}")
            return {"type": f"response.output_item.{kind}", "item": item}

        result, quirks = fold_with_quirks(
            told("added", 1, ""),
            piece('{"a":'),
            piece("1}"),
            {"type": "response.function_call_arguments.done", "arguments": '{"a":1}'},
            told("added", 2, ""),
            piece("{}"),
            told("done", 1, '{"a":1}'),
            told("done", 2, "{}"),
            told("done", 1, '{"a":1}'),
            ended(),
        )
        assert plain(result.tool_calls) == [("call_1", "f1", '{"a":1}'), ("call_2", "f2", "{}")]
        assert quirks == {"item_unnamed"}

    def test_an_item_behind_a_finished_one_is_another(self):
        result, quirks = fold_with_quirks(
            *(
                {"type": "response.output_item.done", "item": message(text, ident=None)}
                for text in ("a", "a")
            ),
            ended(),
        )
        assert (result.content, quirks) == ("aa", set())


class TestEnd:
    @pytest.mark.parametrize(
        ("kind", "fields", "reason"),
        [
            ("completed", {}, "stop"),
            ("completed", {"status": None}, "stop"),
            ("completed", {"status": "in_progress"}, "stop"),
            ("incomplete", {"status": "queued"}, "incomplete"),
            ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "length"),
            ("incomplete", {"incomplete_details": {"reason": "content_filter"}}, "content_filter"),
            ("incomplete", {"incomplete_details": {"reason": "bored"}}, "bored"),
            ("incomplete", {"incomplete_details": None}, "incomplete"),
            ("cancelled", {}, "cancelled"),
        ],
    )
    def test_the_status_becomes_the_finish_reason(self, kind, fields, reason):
        assert fold(created(), text_delta("x"), ended(kind=kind, **fields)).finish_reason == reason

    def test_usage_is_read_at_the_end(self):
        usage = fold(created(), ended()).usage
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (10, 7, 17)
        assert (usage.reasoning_tokens, usage.cached_tokens, usage.raw) == (5, 4, USAGE)
        assert fold(created(), ended(usage=None)).usage is None
        assert fold(created(), ended(usage={"input_tokens": 1})).usage.total_tokens is None

    def test_the_end_is_the_end(self):
        dialect = ResponsesDialect(set())
        dialect.read(created(), [], None)
        assert not dialect.done
        dialect.read(ended(), [], None)
        assert dialect.done

    def test_a_whole_answer_is_read_as_one(self):
        quirks, chunks, total = set(), [], Accumulator()
        dialect = ResponsesDialect(quirks)
        dialect.read(ended(message("Hi"), call("{}"))["response"], chunks, None)
        for chunk in chunks:
            total.feed(chunk, 0.0)
        result = total.result()
        assert (result.content, result.finish_reason) == ("Hi", "tool_calls")
        assert (result.role, result.usage.total_tokens) == ("assistant", 17)
        assert dialect.done
        assert quirks == {"answer_not_streamed"}

    @pytest.mark.parametrize(
        "payload",
        [
            {"type": "keepalive", "sequence_number": 2},
            {"type": "response.tomorrow", "output_index": 0, "words": 1},
            {"type": "response.tomorrow.delta"},
            {"type": "response.output_text.delta", "delta": None},
            {"type": ["odd"]},
            {},
        ],
    )
    def test_what_says_nothing_gives_no_chunk(self, payload):
        assert read(payload) == []

    @pytest.mark.parametrize("status", ["queued", "in_progress"])
    def test_a_response_that_still_runs_has_not_ended(self, status):
        response = {**HEAD, "status": status, "output": [message("Hi")], "usage": None}
        dialect, chunks = ResponsesDialect(set()), []
        dialect.read(response, chunks, response)
        assert [(chunk.role, chunk.delta) for chunk in chunks] == [("assistant", ""), (None, "Hi")]
        assert not dialect.done
        assert all(chunk.finish_reason is None for chunk in chunks)

    def test_a_status_that_is_no_word_says_nothing(self):
        response = {**HEAD, "status": ["queued"], "output": [message("Hi")]}
        assert fold(response).finish_reason == "stop"

    def test_empty_usage_is_none(self):
        assert fold(ended(usage={})).usage is None


class TestErrors:
    @pytest.mark.parametrize(
        ("payload", "message", "code", "kind"),
        [
            ({"type": "error", "message": "Foo", "code": "bar", "param": None}, "Foo", "bar", None),
            (
                {"type": "error", "error": {"message": "Foo", "type": "tokens"}},
                "Foo",
                None,
                "tokens",
            ),
            ({"type": "response.error", "error": {"message": "Foo"}}, "Foo", None, None),
            ({"error": {"message": "Foo", "code": 502}}, "Foo", 502, None),
            ({"detail": "Foo"}, "Foo", None, None),
            ({"object": "error", "message": "Foo", "code": 400}, "Foo", 400, None),
        ],
    )
    def test_a_reported_error_is_raised(self, payload, message, code, kind):
        with pytest.raises(StreamAPIError) as caught:
            read(created(), payload)
        assert (caught.value.message, caught.value.code, caught.value.type) == (message, code, kind)

    def test_a_failed_response_is_an_error_with_its_end_in_front(self):
        failed = ended(kind="failed", error={"code": "server_error", "message": "Foo"})
        dialect, chunks = ResponsesDialect(set()), []
        with pytest.raises(StreamAPIError, match="Foo") as caught:
            dialect.read(failed, chunks, None)
        assert caught.value.code == "server_error"
        assert (chunks[-1].finish_reason, chunks[-1].usage.total_tokens) == ("failed", 17)
        assert dialect.done

    def test_a_failure_may_stand_alone(self):
        with pytest.raises(StreamAPIError, match="Foo"):
            read({"type": "response.failed", "error": {"message": "Foo"}})

    def test_a_failure_without_a_reason_is_an_error_too(self):
        with pytest.raises(StreamAPIError, match="does not say why"):
            read(ended(kind="failed"))

    def test_a_failure_is_told_once(self):
        dialect, chunks = ResponsesDialect(set()), []
        with pytest.raises(StreamAPIError, match="first"):
            dialect.read({"type": "error", "message": "first"}, chunks, None)
        assert not dialect.done
        dialect.read(ended(kind="failed", error={"message": "second"}), chunks, None)
        assert chunks[-1].finish_reason == "failed"

    @pytest.mark.parametrize(
        "payload",
        [
            text_delta(5),
            event("refusal.done", refusal=["no"]),
            event("function_call_arguments.done", arguments=[1]),
            event("output_item.added", item="x"),
            done({**message(), "content": "text"}),
            done({**message(), "content": ["text"]}),
            done(call(name=["f"])),
            ended(usage=[1]),
            ended(5),
            {"type": "response.completed", "response": []},
            {"type": "response.created", "response": 1},
        ],
    )
    def test_a_field_of_an_impossible_type_is_named(self, payload):
        with pytest.raises(StreamProtocolError, match="is expected"):
            read(payload)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.fixed_dictionaries({"type": KINDS}, optional=FIELDS), max_size=4))
    def test_any_objects_give_chunks_or_a_typed_error(self, payloads):
        dialect, total = ResponsesDialect(set()), Accumulator()
        for payload in payloads:
            chunks = []
            with contextlib.suppress(StreamAPIError, StreamProtocolError):
                dialect.read(payload, chunks, payload)
            for chunk in chunks:
                total.feed(chunk, 0.0)
        total.result()


class TestRecognises:
    @pytest.mark.parametrize("payload", [created(), text_delta("x"), ended(), HEAD])
    def test_its_own(self, payload):
        assert ResponsesDialect.recognises(payload)

    @pytest.mark.parametrize(
        "payload",
        [
            {"object": "chat.completion.chunk", "choices": []},
            {"type": "message_start", "message": {}},
            {"type": "error", "error": {}},
            {"error": {"message": "x"}},
            {"response": "Hi", "done": False},
            {},
        ],
    )
    def test_no_others(self, payload):
        assert not ResponsesDialect.recognises(payload)


class TestAsking:
    def test_where_it_goes_and_with_what(self):
        assert ResponsesDialect.path("gpt-x") == "/responses"
        assert ResponsesDialect.root == ""
        assert ResponsesDialect.request_headers("k") == {"authorization": "Bearer k"}
        assert ResponsesDialect.request_headers(None) == {}

    def test_a_streams_message_can_be_sent_back(self):
        result = fold(
            created(),
            added(reasoning(), 0),
            event("reasoning_summary_text.delta", 0, summary_index=0, delta="Hm"),
            done(reasoning("Hm", encrypted_content="sealed"), 0),
            added(message(), 1),
            text_delta("Wait", 1),
            done(message("Wait"), 1),
            done({**call('{"a": 1}'), "namespace": "crm"}, 2),
            ended(),
        )
        answer = {"role": "tool", "tool_call_id": "call_1", "content": "1"}
        made = ResponsesDialect.request_body(Chat([result.to_message(), answer]))["input"]
        assert made == [
            reasoning("Hm", encrypted_content="sealed"),
            {"type": "message", "role": "assistant", "content": "Wait"},
            {
                "type": "function_call",
                "call_id": "call_1",
                "name": "look",
                "namespace": "crm",
                "arguments": '{"a": 1}',
            },
            {"type": "function_call_output", "call_id": "call_1", "output": "1"},
        ]

    def test_an_answer_that_is_plain_text_can_be_gone_on_with(self):
        lost = ResponsesDialect.request_body(Chat([{"role": "user", "content": "Hi"}]))
        assert ResponsesDialect.can_be_continued(lost)
        sent, _ = ResponsesDialect.continued_body(lost, "Once", "https://x", "auto", "Go on")
        assert [item["content"] for item in sent["input"]] == ["Hi", "Once", "Go on"]


def test_a_part_that_ends_without_being_said_adds_nothing():
    events = [created(), {"type": "response.reasoning_summary_part.done", "item_id": "r"}, ended()]
    dialect, chunks = ResponsesDialect(set()), []
    for event in events:
        dialect.read(event, chunks, event)
    assert [chunk.reasoning for chunk in chunks] == ["", ""]
