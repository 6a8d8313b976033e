"""Which output item of a response an event is about."""

import pytest

from llm_kit.dialects.responses_items import DELTAS, WHOLES, Items


def at(place, ident=None):
    return {"output_index": place, "item_id": ident}


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        ("message", "message"),
        ("reasoning", "reasoning"),
        ("function_call", "call"),
        ("custom_tool_call", "call"),
        ("web_search_call", "hosted"),
        (None, "hosted"),
    ],
)
def test_an_item_has_a_family_and_its_number_there(kind, family):
    items = Items(set())
    made = [items.add(kind, at(place), None, {}) for place in (0, 1)]
    assert [item.number for item in made] == [0, 1]
    assert made[0].family == family
    assert items.of[family] == made


def test_an_item_is_found_by_its_place_even_if_its_id_is_drawn_anew():
    items = Items(set())
    item = items.add("message", at(0), "msg_1", {})
    assert items.find("message", at(0), "msg_9") is item
    assert items.of_event("message", at(0, "msg_9")) is item
    assert items.find("reasoning", at(0), "msg_1") is None


def test_a_place_that_is_used_twice_is_told_apart_by_the_ids():
    items = Items(set())
    one, two = items.add("message", at(0), "msg_1", {}), items.add("message", at(0), "msg_2", {})
    assert items.find("message", at(0), "msg_1") is one
    assert items.find("message", at(0), "msg_2") is two
    assert items.find("message", at(0), None) is two


@pytest.mark.parametrize("place", [None, "0", True])
def test_without_a_place_the_id_tells(place):
    items = Items(set())
    item = items.add("function_call", at(place), "fc_1", {})
    assert items.find("custom_tool_call", at(place), "fc_1") is item
    assert items.find_by_id("function_call", "fc_1") is item
    assert items.find("function_call", at(place), "fc_2") is None
    assert items.find_by_id("function_call", None) is None


NAMELESS: dict[str, object] = {}


@pytest.mark.parametrize("payload", [NAMELESS, {"item_id": "of no item"}, {"output_index": "0"}])
def test_without_place_and_id_the_last_open_item_of_the_kind_is_meant(payload):
    quirks = set()
    items = Items(quirks)
    items.add("message", NAMELESS, None, {})
    item = items.add("message", NAMELESS, "msg_2", {})
    items.add("reasoning", NAMELESS, None, {})
    assert items.of_event("message", payload) is item
    assert quirks == {"item_unnamed"}
    item.done = items.of["message"][0].done = True
    assert items.of_event("message", payload) not in items.of["message"][:2]


def test_an_item_with_another_place_or_of_another_kind_is_not_meant():
    quirks = set()
    items = Items(quirks)
    items.add("function_call", NAMELESS, None, {})
    assert items.find_open("function_call", at(0)) is None
    assert items.find_open("custom_tool_call", NAMELESS) is None
    assert quirks == set()


def test_a_call_is_found_by_its_call_id_even_if_it_is_done():
    items = Items(set())
    one, two = (
        items.add("function_call", NAMELESS, None, {"call_id": ident}) for ident in ("c1", "c2")
    )
    one.done = True
    assert items.find_open("function_call", NAMELESS, "c1") is one
    assert items.find_open("function_call", NAMELESS, "c2") is two
    assert items.find_open("function_call", NAMELESS, "c3") is None
    assert items.find_open("function_call", NAMELESS) is two


def test_an_item_that_was_never_announced_is_made():
    items = Items(set())
    item = items.of_event("message", at(0, "msg_1"))
    assert (item.id, item.announced, item.done) == ("msg_1", {}, False)
    assert items.of_event("message", at(0, "msg_1")) is item


@pytest.mark.parametrize(
    ("place", "ident", "done", "known"),
    [
        (0, "msg_1", False, True),
        (0, "msg_1", True, True),
        (None, "msg_1", False, True),
        (0, "msg_2", False, False),
        (1, "msg_1", False, False),
        (None, None, False, False),
    ],
)
def test_an_item_is_told_twice_if_place_and_id_are_the_same(place, ident, done, known):
    items = Items(set())
    item = items.add("message", at(0), "msg_1", {})
    item.done = done
    assert items.told_before("message", at(place), ident) is (item if known else None)


@pytest.mark.parametrize("done", [False, True])
def test_without_ids_a_place_whose_item_is_finished_has_a_new_one(done):
    items = Items(set())
    item = items.add("message", at(0), None, {})
    item.done = done
    assert items.told_before("message", at(0), None) is (None if done else item)


def test_each_delta_has_its_whole():
    for name, piece in DELTAS.items():
        assert WHOLES[name.removesuffix("delta") + "done"][:2] == piece
