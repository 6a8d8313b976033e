"""JSON texts in a body: whole values, however they are printed and cut."""

import importlib.util
import itertools
import json
import math
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_kit import StreamProtocolError, json_texts
from llm_kit.json_texts import (
    NOT_JSON,
    JSONTextDecoder,
    NotJSON,
    decoded,
    decoded_by_json,
    decoded_by_msgspec,
)

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


# With msgspec and without: the same values, types and errors.

MSGSPEC = importlib.util.find_spec("msgspec") is not None
BOTH = pytest.mark.skipif(not MSGSPEC, reason="msgspec is not installed")
INF, EMOJI = math.inf, "\U0001f600"
HARD = (
    # Numbers
    {"NaN": math.nan, "Infinity": INF, "-Infinity": -INF, "-NaN": NOT_JSON, "nan": NOT_JSON}
    | {"1e400": INF, "-1e400": -INF, "1e-400": 0.0, "-1e-400": -0.0, "9e" + "9" * 30: INF}
    | {"-0": 0, "-0.0": -0.0, "-0e0": -0.0, "0e5": 0.0, "1E5": 1e5, "1e+5": 1e5, "1.0": 1.0}
    | {
        str(sign * 2**bits + by): sign * 2**bits + by
        for sign, bits, by in itertools.product((1, -1), (53, 63, 64), (-1, 0, 1))
    }
    | {
        sign + digit + "9" * count: int(sign + digit + "9" * count)  # 19999999999999999999, say
        for sign, digit, count in itertools.product(("", "-"), "129", (17, 18, 19, 20, 308, 4299))
    }
    | {"9" * 4301: NOT_JSON, "-" + "9" * 4301: NOT_JSON}  # Python reads 4300 digits
    | {"9" * 309 + ".0": INF, "9" * 4301 + ".0": INF, "0." + "0" * 5000 + "1": 0.0}
    # Between two floats, and at the ends of what they hold
    | {"9007199254740993.0": 2.0**53, "1e23": 1e23, "0.30000000000000004": 0.1 + 0.2}
    | {"1.00000000000000011102230246251565404": 1.0, "2.2250738585072012e-308": 2.0**-1022}
    | {"1.00000000000000011102230246251565405": 1.0 + 2.0**-52, "5e-324": 5e-324}
    | {"1.7976931348623158e308": sys.float_info.max, "1.7976931348623159e308": INF}
    | {"2.4703282292062327e-324": 0.0, "2.4703282292062328e-324": 5e-324}
    | dict.fromkeys(["01", "-01", "00", "1.", ".5", "+1", "-", "1e", "1e+", "1_0"], NOT_JSON)
    | dict.fromkeys(["0x1", "1 2", "\u0663", "1\u0663", "0.\u0663", "\uff11"], NOT_JSON)
    # Words
    | {"null": None, "true": True, "false": False}
    | dict.fromkeys(["nul", "nulll", "True", "TRUE", "None", "undefined"], NOT_JSON)
    # Strings
    | {r'"\u0041\u0000\u00e9\/"': "A\0\xe9/", '"\x7f\u2028\ufeff"': "\x7f\u2028\ufeff"}
    | {r'"\ud83d\ude00"': EMOJI, f'"{EMOJI}"': EMOJI, r'"\ud800"': "\ud800"}
    | {r'"\udc00"': "\udc00", r'"\uD83Dx"': "\ud83dx", r'"\ud83d\n"': "\ud83d\n"}
    | {r'"\ud83d\ud83d\ude00"': "\ud83d" + EMOJI, r'"\ud83d\u0041"': "\ud83dA"}
    | {'"' + "x" * 1_000_000 + '"': "x" * 1_000_000}
    | {'"' + r"\u00e9" * 100_000 + '"': "\xe9" * 100_000}
    | dict.fromkeys([f'"{mark}"' for mark in "\0\t\n\r\x1f"], NOT_JSON)
    | dict.fromkeys([r'"\u00"', r'"\u 041"', r'"\u+041"', r'"\u0_41"', r'"\x41"'], NOT_JSON)
    | dict.fromkeys([r'"\'"', '"\\', '"a', "'a'"], NOT_JSON)
    # Objects, arrays, and what stands around them
    | {'{"a": 1, "b": 2, "a": 3}': {"a": 3, "b": 2}, r'{"\ud800": {}}': {"\ud800": {}}}
    | {' \t\r\n{"a" : [ 1 ,2 ] } \n': {"a": [1, 2]}, " 1": 1, "1 ": 1}
    | dict.fromkeys(["", "   ", "\ufeff{}", "{}\ufeff", "\xa0{}", "{}\u2028", "\v{}"], NOT_JSON)
    | dict.fromkeys(["{}\0", "\0{}", "{} x", "{}{}", "{}\n{}", "[]}", "[}", "{]", "]"], NOT_JSON)
    | dict.fromkeys(["[1,]", "[,1]", "[1 2]", '{"a": 1,}', "{,}", '{"a"}', '{"a":}'], NOT_JSON)
    | dict.fromkeys(["{a: 1}", "{1: 2}", "{null: 1}", "// x\n{}", "{}//"], NOT_JSON)
    | dict.fromkeys([mark * 100_000 for mark in ("[", '{"a":', '[{"a":')], NOT_JSON)
    | {"[" * 100_000 + "]" * 100_000: NOT_JSON}  # deeper than Python's stack
)
BROKEN = (  # what is no UTF-8 is replaced by U+FFFD, as often as Python does it
    {b'"\xff"': 1, b'"\x80"': 1, b'"\xe2\x82"': 1, b'"\xe2\x82x"': 1, b'"\xc3\xa9\xff"': 1}
    | {b'"\xc0\x80"': 2, b'"\xe0\x80\x80"': 3, b'"\xf0\x80\x80\x80"': 4}  # overlong
    | {b'"\xed\xa0\x80"': 3, b'"\xf4\x90\x80\x80"': 4, b'"\xf8\x88\x80\x80\x80"': 5}
    | {b'"' + b"x" * 100 + b'\xff"': 1, b'{"\xff": 1, "\xfe": 2}': 1, b'"\\\\\xff"': 1}
    | dict.fromkeys([b'"\xe2', b'"\xc3', b"\xff{}", b"{}\xff", b'"\\\xff"', b'"\\u00\xff4"'])
    | dict.fromkeys([b"\xef\xbb\xbf{}", b"{\x00}\x00", "{}".encode("utf-16"), b"\xed\xa0\x80"])
)


def same(text):
    """Decode in both ways; gives the value if they agree, and in their types too."""
    value, fast = decoded_by_json(text), decoded_by_msgspec(text)
    # repr tells 1 from 1.0 and True, -0.0 from 0.0, the order of keys, and NOT_JSON by its id.
    assert repr(fast) == repr(value), text
    return value


@BOTH
@pytest.mark.parametrize("text", HARD, ids=lambda text: ascii(text)[:40])
def test_hard_texts_are_the_same_in_both_ways(text):
    for form in (text, text.encode()):
        assert repr(same(form)) == repr(HARD[text])


@BOTH
@pytest.mark.parametrize("text", BROKEN, ids=lambda text: ascii(text)[:40])
def test_bytes_that_are_no_text_are_the_same_in_both_ways(text):
    value = same(text)
    if BROKEN[text] is None:
        assert value is NOT_JSON
    else:
        assert str(value).count("\ufffd") == BROKEN[text]


@BOTH
def test_a_text_that_is_no_unicode_is_the_same_in_both_ways():
    assert same('["\ud800"]') == ["\ud800"]
    assert same("\ud800") is NOT_JSON


@BOTH
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_a_deep_value_is_the_same_in_both_ways(begin, end):
    """Not to the last level: there it hangs on who calls."""
    for depth in (100, 500, 2_000):
        value = same(begin * depth + "1" + end * depth)
        assert (value is NOT_JSON) == (depth > 1_000)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
dumps = st.builds(
    lambda value, indent, is_ascii: json.dumps(value, indent=indent, ensure_ascii=is_ascii).encode(
        "utf-8", "surrogatepass"
    ),
    json_values,
    st.sampled_from([None, 1]),
    st.booleans(),
)
SPLINTERS = [
    *(bytes([mark]) for mark in b'"\\{}[],: \n\t\r\0\x1f\x7f\x0b-+.eE019/\xff\xc3\xe2\xed\xf0\x80'),
    *(b"null", b"NaN", b"Infinity", b"1e999", b"e-400", b"0.1", b"19999999999999999999", b'"a":'),
    *(b"\\u", b"\\ud83d", b"\\ude00", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc2\xa0"),
]
places = st.integers(0, 60)
changes = st.lists(
    st.tuples(places, st.integers(0, 3), st.sampled_from(SPLINTERS) | st.binary(max_size=2)),
    max_size=4,
)


def check_broken(text, made):
    for place, taken, put in made:
        text = text[:place] + put + text[place + taken :]
    same(text)
    same(text.decode("utf-8", "surrogateescape"))


@BOTH
@settings(deadline=None, max_examples=300)
@given(dumps, changes)
def test_broken_texts_are_the_same_in_both_ways(text, made):
    check_broken(text, made)


@BOTH
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.no_cover  # it takes twice the time
@settings(deadline=None, max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(dumps, changes)
def test_many_broken_texts_are_the_same_in_both_ways(text, made):
    check_broken(text, made)


@BOTH
def test_msgspec_does_what_it_can(monkeypatch):
    monkeypatch.setattr(json_texts, "decoded_by_json", None)
    assert decoded_by_msgspec(b'{"a": [1, "x", null, 0.5]}') == {"a": [1, "x", None, 0.5]}


def test_all_decode_in_the_way_that_was_asked_for(pytestconfig):
    fast = MSGSPEC and pytestconfig.getoption("--json") == "installed"
    names = [name for name in sys.modules if name.partition(".")[0] == "llm_kit"]
    used = {getattr(sys.modules[name], "decoded", decoded) for name in names}
    assert used == {decoded_by_msgspec if fast else decoded_by_json}


def test_without_msgspec_the_standard_library_decodes():
    program = (
        "import sys; sys.modules['msgspec'] = None\n"
        "from llm_kit import json_texts, wire\n"
        "assert wire.decoded is json_texts.decoded is json_texts.decoded_by_json\n"
        "assert wire.decoded(b' [1]') == [1]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
