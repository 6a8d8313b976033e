"""A chat in OpenAI's form, taken apart; what has no place is told with where it stands."""

import pytest

from llm_kit.dialects.request.translate import (
    CalledFunctions,
    Function,
    Media,
    arguments_of,
    calls_of,
    details_of,
    each_message,
    function_chosen,
    function_of,
    id_of,
    parts_of,
    refuse_hints,
    text_of,
    untranslatable,
)


def call(name="f", arguments="{}", **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def parts(*content):
    return list(parts_of({"content": list(content)}, "messages[0]"))


# Messages


def test_messages_come_with_their_places():
    one, two = {"role": "user", "content": "a"}, {"type": "item", "name": "own"}
    assert list(each_message([one, two], "mine")) == [(one, "messages[0]"), (two, "messages[1]")]


def test_a_message_that_is_no_dict_is_refused():
    with pytest.raises(TypeError, match=r"^messages\[1\] must be a dict, not str"):
        list(each_message([{"role": "user"}, "Hi"], "mine"))


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
@pytest.mark.parametrize(
    ("name", "value"), [("name", "Bo"), ("audio", {"id": "a"}), ("function_call", {"name": "f"})]
)
def test_what_only_openais_api_knows_is_refused(role, name, value):
    message = {"role": role, "content": "a", name: value}
    with pytest.raises(ValueError, match=rf"^messages\[0\]\.{name}: the 'mine' dialect has no"):
        list(each_message([message], "mine"))
    list(each_message([{**message, name: None}], "mine"))


def test_the_result_of_a_tool_may_have_a_name():
    message = {"role": "tool", "name": "f", "content": "1"}
    assert list(each_message([message], "mine")) == [(message, "messages[0]")]


# Parts


@pytest.mark.parametrize(("content", "given"), [(None, []), ("", [""]), ("a", ["a"]), ([], [])])
def test_a_content_may_be_a_text_or_nothing(content, given):
    assert list(parts_of({"content": content}, "messages[0]")) == given
    assert list(parts_of({}, "messages[0]")) == []


def test_texts_are_texts_and_what_more_they_say_keeps_them_parts():
    marked = {"type": "text", "text": "c", "cache_control": {}}
    odd = {"type": "text", "text": 5}
    assert parts("a", {"type": "text", "text": "b"}, marked, odd) == ["a", "b", marked, odd]


PNG = "data:image/png;base64,iVBO"


@pytest.mark.parametrize(
    ("part", "media"),
    [
        ({"type": "image_url", "image_url": "https://h/a"}, Media("image", url="https://h/a")),
        (
            {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
            Media("image", data="iVBO", mime="image/png", detail="low"),
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:,x"}, "cache": 1},
            Media("image", data="x", more={"cache": 1}),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "UklG", "format": "mp3"}},
            Media("audio", data="UklG", mime="audio/mp3"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "UklG"}, "cache": 1},
            Media("audio", data="UklG", mime="audio/wav", more={"cache": 1}),
        ),
        (
            {"type": "file", "file": {"file_data": "data:text/csv;base64,YQ", "filename": "a"}},
            Media("file", data="YQ", mime="text/csv", name="a"),
        ),
        (
            {"type": "file", "file": {"file_data": "https://h/a.pdf"}, "cache": 1},
            Media("file", url="https://h/a.pdf", more={"cache": 1}),
        ),
        ({"type": "file", "file": {"file_data": "YQ"}}, Media("file", data="YQ")),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_id": "f-1"}},
            Media("file", name="a.pdf", id="f-1"),
        ),
    ],
)
def test_media_keep_all_that_is_said_of_them(part, media):
    assert parts(part) == [media]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "document", "source": {}},
        {"text": "untyped"},
        {"type": "input_audio", "input_audio": "x"},
        {"type": "file", "file": "x"},
        {"type": 5},
        {"type": ["text"]},
        {"type": None},
    ],
)
def test_a_part_of_another_type_is_given_as_it_is(part):
    assert parts(part)[0] is part


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (5, r"^messages\[0\]\.content must be a string or a list, not int"),
        ({"type": "text"}, r"^messages\[0\]\.content must be a string or a list, not dict"),
        (["a", 5], r"^messages\[0\]\.content\[1\] must be a dict, not int"),
        (["a", {"type": "image_url"}], r"^messages\[0\]\.content\[1\] must be \{"),
        ([{"type": "image_url", "image_url": {"url": 5}}], r"^messages\[0\]\.content\[0\] must be"),
    ],
)
def test_a_content_of_another_form_is_refused(content, words):
    with pytest.raises(TypeError, match=words):
        list(parts_of({"content": content}, "messages[0]"))


def test_a_text_is_joined_and_may_have_nothing_else_in_it():
    message = {"content": ["a", {"type": "text", "text": "b"}]}
    assert text_of(message, "messages[0]", "mine") == "ab"
    message = {"content": [{"type": "image_url", "image_url": PNG}]}
    with pytest.raises(ValueError, match=r"^messages\[0\]\.content: the 'mine' dialect has no"):
        text_of(message, "messages[0]", "mine")


def test_reasoning_of_other_formats_is_not_meant_here():
    ours, theirs = {"format": "mine", "text": "a"}, {"format": "other", "text": "b"}
    message = {"reasoning_details": [theirs, ours, {}]}
    assert list(details_of(message, "here", "mine")) == [ours]
    assert list(details_of({"reasoning_details": None}, "here", "mine")) == []


@pytest.mark.parametrize(
    ("details", "words"),
    [
        (5, r"^here\.reasoning_details must be a list, not int"),
        ({"a": 1}, r"^here\.reasoning_details must be a list, not dict"),
        ([{}, "x"], r"^here\.reasoning_details\[1\] must be a dict, not str"),
    ],
)
def test_reasoning_of_another_form_is_refused(details, words):
    with pytest.raises(TypeError, match=words):
        list(details_of({"reasoning_details": details}, "here", "mine"))


@pytest.mark.parametrize("media", [Media("image"), Media("image", detail="auto")])
def test_a_medium_without_hints_may_pass(media):
    refuse_hints(media, "mine", "here")


@pytest.mark.parametrize(
    ("media", "words"),
    [
        (Media("image", url="u", detail="high"), "image with the detail 'high'"),
        (Media("file", data="YQ", id="f-1"), "file given by its id"),
    ],
)
def test_a_hint_is_refused(media, words):
    with pytest.raises(ValueError, match=f"^here: the 'mine' dialect has no place for {words}$"):
        refuse_hints(media, "mine", "here")


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        (Media("image", url="u"), "image given by its URL"),
        (Media("audio", data="d"), "audio given by its data"),
        (Media("file", name="a.pdf"), "file given by its name"),
        (Media("image", data="d", more={"cache": 1}), "image with 'cache'"),
        ({"type": "video"}, "part of type 'video'"),
        ("the role 'x'", "the role 'x'"),
    ],
)
def test_what_has_no_place_is_shown(what, shown):
    message = str(untranslatable("mine", "here", what))
    assert message == f"here: the 'mine' dialect has no place for {shown}"


# Tools


@pytest.mark.parametrize(
    ("arguments", "given"),
    [('{"a": 1}', {"a": 1}), ("", {}), (None, {}), ({"a": 1}, {"a": 1})],
)
def test_arguments_are_an_object(arguments, given):
    assert arguments_of(call(arguments=arguments), "here") == given


@pytest.mark.parametrize("arguments", ['{"a": 1', "[]", "null", 5])
def test_arguments_that_are_none_are_refused(arguments):
    with pytest.raises(ValueError, match=r"^here\.function\.arguments must be .* that was cut$"):
        arguments_of(call(arguments=arguments), "here")


def test_calls_come_with_their_names_and_places():
    one, two = call("f", id="1"), call("g")
    message = {"tool_calls": [one, two]}
    assert calls_of(message, "messages[2]") == [
        (one, "f", "messages[2].tool_calls[0]"),
        (two, "g", "messages[2].tool_calls[1]"),
    ]
    assert calls_of({"tool_calls": None}, "messages[2]") == []


@pytest.mark.parametrize(
    ("calls", "error", "words"),
    [
        (5, TypeError, r"^here\.tool_calls must be a list, not int"),
        ({"id": "1"}, TypeError, r"^here\.tool_calls must be a list, not dict"),
        (["x"], TypeError, r"^here\.tool_calls\[0\] must be"),
        ([call(), {"id": "1"}], TypeError, r"^here\.tool_calls\[1\] must be"),
        ([call("")], ValueError, r"^here\.tool_calls\[0\]\.function\.name must be"),
        ([call(None)], ValueError, r"^here\.tool_calls\[0\]\.function\.name must be"),
    ],
)
def test_calls_of_another_form_are_refused(calls, error, words):
    with pytest.raises(error, match=words):
        calls_of({"tool_calls": calls}, "here")


def test_an_id_must_be_there_where_it_is_needed():
    assert id_of({"id": "1"}, "id", "here") == "1"
    for ident in (None, "", 5):
        with pytest.raises(ValueError, match=r"^here\.id must be the id of the call"):
            id_of({"id": ident}, "id", "here")


class TestCalledFunctions:
    @staticmethod
    def after(*calls):
        functions = CalledFunctions()
        functions.add(calls_of({"tool_calls": list(calls)}, "messages[0]"))
        return functions

    def test_an_id_names_its_function(self):
        functions = self.after(call("f", id="1"), call("g", id="2"))
        functions.add([])
        answers = [{"tool_call_id": "2"}, {"tool_call_id": "1", "name": "other"}]
        assert [functions.name_for(answer, "here") for answer in answers] == ["g", "f"]

    def test_without_ids_results_go_by_their_order(self):
        functions = self.after(call("f"), call("g"), call("f"))
        assert [functions.name_for({}, "here") for _ in "abc"] == ["f", "g", "f"]

    def test_a_name_comes_before_the_order(self):
        functions = self.after(call("f"), call("g"), call("h"))
        answers = [{"name": "g"}, {"name": "other"}, {}, {"tool_call_id": None}]
        names = [functions.name_for(answer, "here") for answer in answers]
        assert names == ["g", "other", "f", "h"]

    def test_an_unknown_id_needs_a_name(self):
        assert self.after().name_for({"tool_call_id": "9", "name": "f"}, "here") == "f"

    @pytest.mark.parametrize("answer", [{}, {"tool_call_id": "9"}, {"name": ["f"]}])
    def test_a_result_of_nothing_is_refused(self, answer):
        with pytest.raises(ValueError, match=r'^here: no tool call before .* as "name"$'):
            self.after(call("f", id="1")).name_for(answer, "here")

    def test_what_was_never_answered_is_not_waited_for(self):
        functions = self.after(call("f"))
        functions.add(calls_of({"tool_calls": [call("g")]}, "messages[3]"))
        assert functions.name_for({}, "here") == "g"


def test_a_tool_is_a_function_or_the_dialects_own():
    inner = {"name": "f", "description": "F", "parameters": {}, "strict": True}
    assert function_of({"type": "function", "function": inner}, "tools[0]") == Function(
        "f", "F", {}, True
    )
    assert function_of({"type": "web_search"}, "tools[0]") is None
    assert function_of({"type": "function", "name": "flat"}, "tools[0]") is None


def test_what_else_is_said_of_a_function_is_kept():
    tool = {"type": "function", "function": {"name": "f", "a": 1}, "cache": 2}
    assert function_of(tool, "tools[0]").more == {"a": 1, "cache": 2}


@pytest.mark.parametrize(
    ("tool", "error", "words"),
    [
        ("f", TypeError, r"^tools\[0\] must be a dict, not str"),
        ({"type": "function", "function": {}}, ValueError, r"^tools\[0\]\.function\.name must"),
    ],
)
def test_a_tool_of_another_form_is_refused(tool, error, words):
    with pytest.raises(error, match=words):
        function_of(tool, "tools[0]")


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"type": "function", "function": {"name": "f"}}, "f"),
        ({"type": "function", "function": {"name": 5}}, None),
        ({"type": "function", "function": "f"}, None),
        ({"type": "any"}, None),
        ("auto", None),
    ],
)
def test_a_choice_may_name_a_function(choice, name):
    assert function_chosen(choice) == name
