"""JSON texts in a body: whole values, however they are printed and cut."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_kit import StreamProtocolError
from llm_kit.json_texts import NOT_JSON, JSONTextDecoder, NotJSON, decoded

VALUES = [{"a": "x\u2028 y", "b": [1, {}]}, {}, {"c": '}\n{"]['}]
objects = st.lists(
    st.dictionaries(st.text(), st.none() | st.text() | st.lists(st.integers(), max_size=3)),
    max_size=4,
)


def read(*pieces, **settings_):
    decoder = JSONTextDecoder(**settings_)
    values = [value for piece in pieces for value in decoder.feed(piece)] + decoder.flush()
    assert decoder.flush() == []
    return [{"no JSON": value.text} if isinstance(value, NotJSON) else value for value in values]


def bodies_of(values):
    """The forms in which a body may hold values."""
    yield "\n".join(map(json.dumps, values))
    yield "\r\n\r\n".join(json.dumps(value, ensure_ascii=False) for value in values) + "\r\n"
    yield "\n".join(json.dumps(value, indent=2) for value in values)
    if values:
        yield json.dumps(values)
        yield json.dumps(values, indent=2)
        yield "[" + "\n,\r\n".join(json.dumps(value, indent=1) for value in values) + "\n]\n"
        yield "[\n" + ",\n".join(map(json.dumps, values)) + "\n]"


@pytest.mark.parametrize("body", list(bodies_of(VALUES)))
def test_every_form_whole_and_in_single_bytes(body):
    data = body.encode()
    assert read(data) == VALUES
    assert read(*(data[at : at + 1] for at in range(len(data)))) == VALUES


@settings(deadline=None)
@given(objects, st.lists(st.integers(0, 400)))
def test_every_value_and_every_cut(values, places):
    for body in bodies_of(values):
        data = body.encode()
        places = sorted({min(place, len(data)) for place in places} | {0, len(data)})
        pieces = [data[start:end] for start, end in itertools.pairwise(places)]
        assert read(*pieces) == values


def test_a_value_is_given_before_the_end_of_its_line():
    assert JSONTextDecoder().feed(b'{"a": 1}') == [{"a": 1}]
    assert JSONTextDecoder().feed(b'[{"a": 1}') == [{"a": 1}]
    assert JSONTextDecoder().feed(b'{\n "a": {\n }\n}') == [{"a": {}}]


def test_a_line_that_is_none_is_given_as_what_it_is():
    assert read(b'{"a": 1}\nhello\n{"b": 2}\n') == [{"a": 1}, {"no JSON": "hello"}, {"b": 2}]
    assert read(b'{"a": "cut\n{"b": 2}\n') == [{"no JSON": '{"a": "cut'}, {"b": 2}]
    assert read(b'{"a": 1}\n{"cut') == [{"a": 1}, {"no JSON": '{"cut'}]
    assert read(b'{"a": 1}{"cut\n') == [{"a": 1}, {"no JSON": '{"cut'}]


LARGE = {"a": "x" * 16_500 + "}", "b": "x" * 1_000}


@pytest.mark.parametrize("indent", [None, 1])
def test_a_large_value_may_be_cut_where_it_looks_whole(indent):
    """It is not tried again at once, and must not be lost for that."""
    data = "\n".join(json.dumps(value, indent=indent) for value in (LARGE, LARGE, {"c": 1})) + "\n"
    for place in (data.index("}") + 1, data.rindex("}", 0, -20) + 1):
        pieces = [data[:place].encode(), data[place:].encode()]
        assert read(*pieces) == [LARGE, LARGE, {"c": 1}]


def test_a_large_line_is_given_at_its_end():
    for size in (20_000, 50_000, 200_000):
        value = {"a": "x" * size, "b": [{}]}
        line = json.dumps(value).encode()
        decoder = JSONTextDecoder()
        given = [decoder.feed(line[at : at + 4]) for at in range(0, len(line), 4)]
        given.append(decoder.feed(b"\n"))
        assert [each for values in given for each in values] == [value]


def test_a_value_over_several_lines_is_over_when_another_stands_whole():
    pretty = json.dumps(LARGE, indent=1) + "\n"
    assert read((pretty + json.dumps({"c": 1}) + "\n").encode()) == [LARGE, {"c": 1}]


def test_what_is_no_json():
    assert decoded(' {"a": 1} ') == {"a": 1}
    for text in ("", "{", "[" * 100_000, '{"a"', "{} x"):
        assert decoded(text) is NOT_JSON
    assert read(b"{" + b"[" * 100_000)[0]["no JSON"].startswith("{[")


def test_the_limit_is_for_one_value():
    decoder = JSONTextDecoder(max_event=100)
    for _ in range(50):
        assert len(decoder.feed(b'{"a": 1}\n{')) == 1
        assert len(decoder.feed(b"}\n{")) == 1
        decoder.feed(b"}\n")
    with pytest.raises(StreamProtocolError, match="limit of 100"):
        decoder.feed(b'{"' + b"x" * 101)


@pytest.mark.parametrize("piece", [b"}", b"}\n"], ids=["one line", "lines"])
def test_a_value_that_looks_whole_all_the_time_is_not_tried_all_the_time(monkeypatch, piece):
    tried = []
    monkeypatch.setattr(
        "llm_kit.json_texts._values_in", lambda text: tried.append(len(text)) or ([], text)
    )
    decoder = JSONTextDecoder()
    decoder.feed(b'{"a": "')
    for _ in range(100):
        decoder.feed(piece * 10_000)
    assert sum(tried) < 80_000_000  # characters read again; trying each time it would be billions
