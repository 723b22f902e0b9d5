"""Label files of any size, read entry by entry: the same as the standard parser, in little memory, faults named."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrigan.catalog.readers import labels
from mrigan.catalog.readers.labels import json_entries, small_text
from mrigan.errors import CatalogError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.text(max_size=8), values, max_size=6), st.integers(1, 40), st.sampled_from([None, 0, 3]))
def test_entries_are_those_of_the_standard_parser(tmp_path_factory, data, chunk, indent):
    path = tmp_path_factory.getbasetemp() / "x.json"
    path.write_text(json.dumps(data, indent=indent), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labels, "READ_CHARS", chunk)  # every place in the text is once the end of a piece
        assert dict(json_entries(path, "")) == data


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.text(max_size=4), values, max_size=4), st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_file_is_an_error_or_what_the_standard_parser_reads(tmp_path_factory, data, place, byte):
    text = bytearray(json.dumps(data).encode())
    text[place % len(text)] = byte
    path = tmp_path_factory.getbasetemp() / "y.json"
    path.write_bytes(bytes(text))
    try:
        expected = json.loads(text)
    except ValueError:
        expected = None
    found, fault = None, ""
    try:
        found = dict(json_entries(path, ""))
    except CatalogError as error:
        fault = str(error)
    assert found == expected or "is there twice" in fault or "not a list of clips" in fault


def test_a_large_file_is_read_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "READ_CHARS", 2**15)
    path = tmp_path / "x.json"
    row = json.dumps({"category": "training", "landmarks": [[k / 7, k / 3] for k in range(68)]})
    with open(path, "w") as file:
        file.write("{" + ",".join(f'"{k}": {row}' for k in range(800)) + "}")
    assert path.stat().st_size > 20 * labels.READ_CHARS
    tracemalloc.start()
    count = sum(1 for _ in json_entries(path, ""))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 800
    assert peak < path.stat().st_size / 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "broken JSON"),
        ("[1, 2]", "not a list of clips"),
        ('"x"', "not a list of clips"),
        ('{"a": 1, "a": 2}', "entry 'a' is listed twice"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' stands twice"),
        ('{"a": 1,}', "a comma after the last"),
        ('{"a": 1 "b": 2}', "no comma"),
        ('{"a" 1}', "without a name"),
        ("{1: 2}", "without a name"),
        ('{"a": 1} {"b": 2}', "more text"),
        ('{"a": ' + "[" * 100_000, "broken JSON"),
        ('{"a": "' + "x" * 5_000, "has more than 4,000"),
        ('{"a": 1', "no comma"),
        ('{"a": tru', "broken JSON"),
    ],
)
def test_faults_are_named(tmp_path, monkeypatch, text, message):
    monkeypatch.setattr(labels, "MAX_ENTRY", 4_000)
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(CatalogError, match=message) as caught:
        list(json_entries(tmp_path / "x.json", "like this"))
    assert str(tmp_path / "x.json") in str(caught.value)


def test_files_that_cannot_be_lists(tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "MAX_LIST", 100)
    (tmp_path / "x").write_text("x" * 101)
    with pytest.raises(CatalogError, match="larger than"):
        small_text(tmp_path / "x")
    for read in (small_text, lambda path: list(json_entries(path, "like this"))):
        with pytest.raises(CatalogError, match="cannot be read"):
            read(tmp_path)
        with pytest.raises(CatalogError, match="cannot be read: No such file"):
            read(tmp_path / "absent")
    (tmp_path / "latin").write_bytes('{"ä": 1}'.encode("latin-1"))
    with pytest.raises(CatalogError, match="broken JSON"):
        list(json_entries(tmp_path / "latin", ""))
