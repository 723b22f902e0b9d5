"""JSON of strangers: what is refused, in every way that it can be written."""

from __future__ import annotations

import json

import pytest

from mrigan.foreign_files import MAX_DEPTH, parse_json


@pytest.mark.parametrize(
    "text",
    ['{"a": "\\ud800"}', b'{"a": "\\uDfff"}', b'{"a": "\xed\xa0\x80"}', '{"a": "\ud800"}',
     '{"a": "\\ud800"}'.encode("utf-16"), '{"a": "\\ud800"}'.encode("utf-16-be"), '["\\ud800"]'.encode("utf-32")],
)  # fmt: skip
def test_half_a_pair_is_refused(text: bytes | str) -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        parse_json(text)


@pytest.mark.parametrize("value", ["ä😀", "\\u0041", {"ü": [1, None, {"x": 1e300}]}, [[0.25, 1.5]] * 3, 5, "\x00"])
def test_a_value_is_what_json_reads(value: object) -> None:
    for ascii_only in (False, True):
        text = json.dumps(value, ensure_ascii=ascii_only)
        for form in (text, text.encode(), text.encode("utf-16")):
            assert parse_json(form) == value


def test_depth_is_that_of_lists_and_objects() -> None:
    deepest: object = 1
    for number in range(MAX_DEPTH):
        deepest = [deepest] if number % 2 else {"a": deepest, "b": 0}
    assert parse_json(json.dumps(deepest)) == deepest
    with pytest.raises(ValueError, match=f"nested more than {MAX_DEPTH} deep"):
        parse_json(json.dumps([deepest]))
