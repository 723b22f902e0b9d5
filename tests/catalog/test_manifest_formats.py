"""Manifests as spreadsheets, pandas and Windows write them: read as they are meant, or refused in a line."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from mrigan.catalog import Clip, scan_catalog
from mrigan.catalog.readers import read_manifest
from mrigan.errors import CatalogError

FILES = ("a.mp4", "b.mp4", "sub/c.mp4", "q,uote.mp4")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def read(folder: Path, text: str | bytes, name: str = "m.csv") -> tuple[dict[str, Clip], list[str]]:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    result = read_manifest(folder / name)
    return {clip.path: clip for clip in result.clips}, result.notes


PLAIN = "path,label,original\na.mp4,real,\nb.mp4,fake,a.mp4\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\n\n"),
        "\n \n" + PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        "# made by me\n" + PLAIN,
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("a.mp4,real,\n", "a.mp4,real,,,\n") + ",,\n",
        "Path , LABEL,Original\n" + PLAIN.partition("\n")[2],
        '"path","label","original"\n"a.mp4","real",""\n"b.mp4","fake","a.mp4"\n',
        "label,path,original,,\nreal,a.mp4,,,\nfake,b.mp4,a.mp4,,\n",
        PLAIN.replace("a.mp4,real,", "a.mp4,real,NaN"),
        PLAIN.replace("real,", "0.0,").replace("fake,", "1.0,"),
        PLAIN.replace("real,", "False,").replace("fake,", "True,"),
        PLAIN.replace("real,", "0,").replace("fake,", "1,"),
        PLAIN.replace("real,", " REAL ,").replace("fake,", "Fake,"),
        'path;label;original\na.mp4;"0,0";\nb.mp4;1,0;a.mp4\n',
        '{"path": "a.mp4", "label": 0.0}\n\n{"path": "b.mp4", "label": 1.0, "original": "a.mp4"}',
        '{"path": "a.mp4", "label": false, "original": NaN}\r\n'
        '{"Path": "b.mp4", "Label": true, "original": "a.mp4"}\r\n',
        '\n{"path": "a.mp4", "label": "REAL", "original": null}\n'
        '{"path": "b.mp4", "label": "FAKE", "original": "a.mp4"}',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_one_manifest_in_many_forms(folder, text, encoding):
    clips, _ = read(folder, text.encode(encoding))
    assert {path: clip.label for path, clip in clips.items()} == {"a.mp4": "real", "b.mp4": "fake"}
    assert clips["b.mp4"].original == clips["a.mp4"].id


def test_separators_of_strings_are_not_line_ends(folder):
    row = {"path": "a.mp4", "label": 0, "note": "one\u2028two\x85three\x0bfour"}
    clips, _ = read(folder, json.dumps(row, ensure_ascii=False), "m.jsonl")
    assert list(clips) == ["a.mp4"]


def test_backslashes_and_quoted_commas_are_paths(folder):
    clips, _ = read(folder, 'path,label,original\nsub\\c.mp4,real,\n"q,uote.mp4",fake,sub\\c.mp4\n')
    assert clips["q,uote.mp4"].original == clips["sub/c.mp4"].id
    with pytest.raises(CatalogError, match="points out"):
        read(folder, "path,label\n..\\secret.mp4,real\n")


@pytest.mark.parametrize("key", ["identity", "donor", "group", "source", "donor_source"])
def test_equal_numbers_are_one_and_nan_is_none(folder, key):
    field = {"identity": "targets", "donor": "donors", "donor_source": "donor_sources"}.get(key, key)

    def values(*given: str) -> list[object]:
        clips, notes = read(folder, "".join(
            f'{{"path": "{path}", "label": 0, "{key}": {value}}}\n' for path, value in zip(FILES, given, strict=True)
        ), "m.jsonl")  # fmt: skip
        return [getattr(clips[path], field) for path in FILES] + [notes]

    a, b, c, d, notes = values("1", "1.0", '"1.00"', '"01"')
    assert a == b == c == d in ("1", ("1",))
    assert any("equal numbers are taken as one: 1 = " in note for note in notes)
    a, b, c, d, notes = values("7", '"7"', "7.5", "17")
    assert a == b
    assert len({a, c, d}) == 3
    assert not notes
    a, b, c, d, _ = values("NaN", '"nan"', '"None"', "null")
    assert a == b == c == d in ("", ())
    a, b, c, d, notes = values('"001"', '"002"', '"1e5x"', '"NaNcy"')
    assert {a, b, c, d} in ({"001", "002", "1e5x", "NaNcy"}, {("001",), ("002",), ("1e5x",), ("NaNcy",)})


def test_names_that_may_be_several_are_said(folder):
    clips, notes = read(
        folder, 'path,label,identity\na.mp4,0,"x,y"\nb.mp4,0,x;y\nsub/c.mp4,0,unknown\n"q,uote.mp4",0,unknown\n'
    )
    assert (clips["a.mp4"].targets, clips["b.mp4"].targets) == (("x,y",), ("x", "y"))
    assert any("'x,y'" in note and '";"' in note for note in notes)
    assert any(note.startswith("2 clips have 'unknown'") for note in notes)


@pytest.mark.parametrize(
    ("text", "message", "advice"),
    [
        ('[{"path": "a.mp4", "label": "real"}]', "a JSON array, not JSON lines", "jq -c '.[]' m.csv"),
        ('[\n {"path": "a.mp4",\n "label": "real"}\n]', "a JSON array, not JSON lines", "jq -c '.[]' m.csv"),
        ('{"a.mp4": {"label": "REAL"}, "b.mp4": {"label": "FAKE"}}', "without path and label", "to_entries[]"),
        ('{\n "path": "a.mp4",\n "label": 0\n}', "broken JSON", "jq -c ."),
        ('{"path": "a.mp4", "label": 0, "label": 1}', "label is twice", ""),
        ('{"path": "a.mp4", "label": 0, "Path": "b.mp4"}', "path is twice", ""),
        ('{"path": "a.mp4", "label": 0, "identity": [["x"]]}', r"identity is \['x'\], which is neither a text", ""),
        ('{"path": "a.mp4", "label": 0, "identity": true}', "identity is True, which is neither a text", ""),
        ('{"path": "a.mp4", "label": 0, "group": {"x": 1}}', "group is .*neither a text", ""),
        ('{"path": "a.mp4", "label": 0, "group": Infinity}', "group is inf, which is neither a text", ""),
        ('{"path": "a.mp4", "label": 0.5}', "label '0.5' of a.mp4", "false and true"),
        ('{"path": "a.mp4", "label": NaN}', "label 'nan' of a.mp4", "false and true"),
        ("path,label,label\na.mp4,0,1\n", "two columns have the name label", ""),
        ("path,label\na.mp4,0,x\n", "a row has 3 fields, but the header has 2 fields", ""),
        ("path,label\na.mp4\n", "a row has 1 fields, but the header has 2 fields", ""),
        ("path,label,group\na.mp4,0,x\0y\n", "control characters", ""),
        ("path,label\na\0.mp4,0\n", "is not a file name", ""),
        (b"path,label,method\na.mp4,0,\xe4\n", "UTF-8 or UTF-16", "save it as UTF-8"),
        ("\n\n", "column path and label missing", ""),
        ("x" * 2000 + ",label\n", "column path missing", ""),
        ('path,label\n"a.mp4,0\nb.mp4,1\n', "broken CSV", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_in_short(folder, text, message, advice):
    with pytest.raises(CatalogError, match=message) as caught:
        read(folder, text)
    assert advice in (caught.value.fix or "")
    assert len(str(caught.value)) < 700


def test_a_line_without_end_is_refused_before_it_is_read(folder):
    with open(folder / "m.csv", "wb") as file:
        file.write(b"path,label\n")
        file.truncate(2**30)  # sparse: a GiB of NULs
    tracemalloc.start()
    with pytest.raises(CatalogError, match="a line of more than"):
        read_manifest(folder / "m.csv")
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


def test_a_listed_row_names_both_lines(folder):
    with pytest.raises(CatalogError, match="listed twice") as caught:
        scan_catalog("manifest", _file(folder, "path,label\na.mp4,0\n./a.mp4,1\n"))
    assert "line 3 and line 2" in str(caught.value)


def _file(folder: Path, text: str) -> Path:
    (folder / "m.csv").write_text(text)
    return folder / "m.csv"
