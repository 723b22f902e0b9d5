"""Shard sets against plain webdataset, and every way in which a folder can be wrong."""

from __future__ import annotations

import gc
import itertools
import json
import os
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mrigan.data import ShardSet, open_shards
from mrigan.data.reader import SampleError
from mrigan.errors import ShardError
from tests.data.shards import Sample, encode, make_samples, picture, write_shards


@pytest.fixture
def folder(pairs: Path, tmp_path: Path) -> Path:
    """A copy of the set, to be damaged."""
    return Path(shutil.copytree(pairs, tmp_path / "pairs"))


def test_reads_what_webdataset_reads(pairs: Path) -> None:
    import webdataset

    shards = ShardSet.open([pairs], "train", kind="pairs")
    tars = sorted(str(tar) for tar in pairs.glob("train-*.tar"))
    read = {sample["__key__"]: sample for sample in webdataset.WebDataset(tars, shardshuffle=False)}
    assert len(read) == len(shards) == 83
    for i in range(len(shards)):
        theirs = read[shards.key(i)]
        assert shards.read(i) == (theirs["face.jpg"], theirs["mri.jpg"], theirs["json"])
        assert json.loads(theirs["json"])["label"] == ("fake" if shards.labels[i] else "real")


def test_ids_are_places_in_the_order_of_keys(pairs: Path, samples: list[Sample]) -> None:
    shards = ShardSet.open([pairs], "train", kind="pairs")
    expected = sorted((s.key, s.label) for s in samples if s.split == "train")
    found = [(shards.key(i), ["real", "fake"][shards.labels[i]]) for i in range(len(shards))]
    assert found == expected
    assert shards.keys.tolist() == [key.encode() for key, _ in expected]
    assert shards.rows["key"].to_pylist() == [key for key, _ in expected]
    assert set(shards.rows["status"].to_pylist()) == {"ok"}
    assert shards.rows["name"].to_pylist() == [
        s.row["name"] for s in sorted(samples, key=lambda s: s.key) if s.split == "train"
    ]
    assert len(ShardSet.open([pairs], "val")) == 11


def test_the_order_of_folders_changes_nothing(pairs: Path, tmp_path: Path) -> None:
    more = write_shards(tmp_path / "more", make_samples(4, 3, seed=5), plan="q" * 64)
    one, two = ShardSet.open([pairs, more], "train"), ShardSet.open([str(more), str(pairs)], "train")
    assert len(one) == 90
    assert one.hash == two.hash
    assert one.hash != ShardSet.open([pairs], "train").hash
    assert (one.keys == two.keys).all()
    assert one.rows["key"].to_pylist() == two.rows["key"].to_pylist() == [one.key(i) for i in range(90)]
    assert [one.read(i) for i in range(90)] == [two.read(i) for i in range(90)]


def test_faces_have_no_mri_and_no_place_in_gan_training(pairs: Path, tmp_path: Path) -> None:
    faces = write_shards(tmp_path / "faces", make_samples(3, 2, pairs=False, seed=9), kind="faces")
    with pytest.raises(ShardError, match=r"kind 'faces'(.|\n)*pack.kind=pairs"):
        ShardSet.open([pairs, faces], "train", kind="pairs")
    shards = ShardSet.open([faces], "train")
    assert shards.kind == "faces"
    assert shards.read(0)[1] is None
    assert ShardSet.open([pairs, faces], "train").kind == "faces"
    assert ShardSet.open([pairs], "train").kind == "pairs"


def _replace(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def _edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


TAR = "train-real-000001.tar"
BROKEN: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no folder": (shutil.rmtree, "no such shard folder", "data.shards"),
    "not finished": (lambda d: (d / "manifest.json").unlink(), "manifest.json is missing", "shards build"),
    "manifest cut": (lambda d: _replace(d / "manifest.json", lambda b: b[:9]), "not a JSON object", "manifest.json"),
    "manifest is a list": (lambda d: (d / "manifest.json").write_text("[]"), "not a JSON object", "manifest.json"),
    "no table": (lambda d: (d / "samples.parquet").unlink(), "samples.parquet is missing", "shards verify"),
    "table of another set": (
        lambda d: _replace(d / "samples.parquet", lambda b: b + b" "),
        "not the one",
        "samples.parquet",
    ),
    "tar missing": (lambda d: (d / TAR).unlink(), f"{TAR} is missing", "shards verify"),
    "marker missing": (lambda d: (d / TAR).with_suffix(".json").unlink(), "000001.json is missing", "verify"),
    "tar cut": (lambda d: _replace(d / TAR, lambda b: b[:-512]), "was truncated or replaced", TAR),
    "tar empty": (lambda d: (d / TAR).write_bytes(b""), "has 0 bytes", TAR),
    "tar longer": (lambda d: _replace(d / TAR, lambda b: b + bytes(512)), "was truncated or replaced", TAR),
    "another plan": (lambda d: _edit((d / TAR).with_suffix(".json"), plan_hash="x"), "another plan", "000001.json"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_wrong_folder_is_refused(name: str, folder: Path) -> None:
    damage, words, place = BROKEN[name]
    damage(folder)
    with pytest.raises(ShardError, match=words) as caught:
        ShardSet.open([folder], "train")
    assert place in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_damaged_shard_of_another_split_does_not_matter(folder: Path) -> None:
    (folder / TAR).unlink()
    assert len(ShardSet.open([folder], "val")) == 11


def test_a_key_in_two_folders_is_refused(pairs: Path, folder: Path) -> None:
    with pytest.raises(ShardError, match=r"there twice \(83 such keys\)") as caught:
        ShardSet.open([pairs, folder], "train")
    assert str(pairs) in str(caught.value)
    assert str(folder) in str(caught.value)


def test_an_empty_split_names_the_others(pairs: Path) -> None:
    with pytest.raises(ShardError, match=r"'test'(.|\n)*train 83, val 11"):
        ShardSet.open([pairs], "test")


def test_no_folder_and_wrong_kind() -> None:
    with pytest.raises(ShardError, match="no shard folder"):
        ShardSet.open([], "train")
    with pytest.raises(ValueError, match="neither"):
        ShardSet.open(["x"], "train", kind="mri")


def test_pairs_without_an_mri_are_refused(tmp_path: Path) -> None:
    bad = write_shards(tmp_path / "bad", make_samples(2, 2, pairs=False), kind="pairs")
    with pytest.raises(ShardError, match=r"the mri of sample .* does not lie where"):
        ShardSet.open([bad], "train")


def _first_of(shards: ShardSet, tar: str) -> int:
    return shards.rows["shard"].to_pylist().index(tar)


DAMAGE = {
    "flipped bit in the face": (lambda data, row: _flip(data, row["face_offset"] + 100), "CRC-32"),
    "flipped bit in the mri": (lambda data, row: _flip(data, row["mri_offset"] + row["mri_size"] - 1), "CRC-32"),
    "flipped bit in the json": (lambda data, row: _flip(data, row["json_offset"]), "CRC-32"),
    "another sample there": (
        lambda data, row: data[: row["face_offset"] - 512] + b"x" + data[row["face_offset"] - 511 :],
        "not where the index says",
    ),
    "cut": (lambda data, row: data[: row["json_offset"]], "cut|truncated"),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("opened", [False, True])
def test_damage_after_opening_names_shard_key_and_offset(name: str, opened: bool, folder: Path) -> None:
    shards = ShardSet.open([folder], "train")
    shards.verify = "always"
    i = _first_of(shards, TAR)
    row = shards.rows.slice(i, 1).to_pylist()[0]
    if opened:
        shards.read(i)
    change, words = DAMAGE[name]
    with open(folder / TAR, "r+b") as file:  # the same file, as a failing disk or a second writer would leave it
        data = change(file.read(), row)
        file.seek(0)
        file.write(data)
        file.truncate()
    with pytest.raises(ShardError, match=words) as caught:
        shards.read(i)
    text = str(caught.value)
    assert str(folder / TAR) in text
    assert f"mrigan shards verify {folder}" in text
    if opened or name != "cut":  # a shard that opens short is refused as a whole
        assert row["key"] in text
        assert f"at byte {row['face_offset']}" in text


@pytest.mark.parametrize(("verify", "found"), [("first", [True, False]), ("always", [True, True]), ("never", [])])
def test_the_crc_is_checked_when_it_shall_be(verify: str, found: list[bool], folder: Path) -> None:
    shards = ShardSet.open([folder], "train")
    shards.verify = verify
    early, late = shards.rows.slice(0, 2).to_pylist()
    shards.read(1)
    for row in (early, late):
        _replace(folder / row["shard"], lambda data, row=row: _flip(data, row["face_offset"] + 100))
    shards.close()
    for i, bad in enumerate(found):
        if bad:
            with pytest.raises(SampleError, match="CRC-32") as caught:
                shards.read(i)
            assert caught.value.sample == pickle.loads(pickle.dumps(caught.value)).sample == i
        else:
            shards.read(i)
    if not found:
        shards.read(0)


def test_places_depend_on_the_data_only(pairs: Path, tmp_path: Path) -> None:
    more = write_shards(tmp_path / "more", make_samples(12, 13, seed=5), plan="q" * 64)
    one, two = ShardSet.open([pairs, more], "train"), ShardSet.open([more, pairs], "train")
    for mine, theirs in zip(one.places(), two.places(), strict=True):
        assert (mine == theirs).all()
    number, offset = one.places()
    shards = one.rows["shard"].to_pylist()
    assert len(set(number.tolist())) == 13  # 3 + 6 tars, and 2 + 2
    assert offset.tolist() == one.rows["face_offset"].to_pylist()
    by_number: dict[int, set[str]] = {}
    for n, name in zip(number.tolist(), shards, strict=True):
        by_number.setdefault(n, set()).add(name)
    assert all(len(names) == 1 for names in by_number.values())
    first = [number.tolist().index(n) for n in range(13)]
    assert first == sorted(first)


def test_threads_share_few_open_files(folder: Path) -> None:
    shards = ShardSet.open([folder], "train")
    shards.open_shards.max_open = 1  # each read closes what another thread reads from
    expected = [shards.read(i) for i in range(len(shards))]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            assert list(pool.map(shards.read, range(len(shards)))) == expected
    assert len(shards.open_shards) == 1


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="a hint that this system does not take")
def test_a_front_that_moves_is_fetched_ahead_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = ShardSet.open([folder], "train")
    shards.open_shards.ahead = True
    monkeypatch.setattr(open_shards, "READ_AHEAD", 20_000)
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, start, count, how: asked.append((start, start + count)))
    mine = [i for i, name in enumerate(shards.rows["shard"].to_pylist()) if name == TAR]
    in_order = sorted(mine, key=lambda i: shards.rows["face_offset"][i].as_py())
    for i in in_order:
        shards.read(i)
        end = shards.rows["json_offset"][i].as_py()
        assert asked[-1][1] > end
    assert all(before[1] == after[0] for before, after in itertools.pairwise(asked))
    assert len(asked) > 1


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_shard_that_goes_away_is_an_error(folder: Path) -> None:
    shards = ShardSet.open([folder], "train")
    (folder / TAR).unlink()
    with pytest.raises(ShardError, match=r"cannot be opened: No such file(.|\n)*verify"):
        shards.read(_first_of(shards, TAR))


def _open_tars(folder: Path) -> int:
    links = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]
    opened = [Path(os.readlink(link)) for link in links if link.is_symlink()]
    return sum(path.parent == folder and path.suffix == ".tar" for path in opened)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files in /proc")
def test_open_files_are_few_and_closed(folder: Path) -> None:
    shards = ShardSet.open([folder], "train")
    assert _open_tars(folder) == 0
    all_at_once = [shards.read(i) for i in range(len(shards))]
    assert _open_tars(folder) == 9
    shards.close()
    assert _open_tars(folder) == 0
    shards.open_shards.max_open = 2
    assert [shards.read(i) for i in range(len(shards))] == all_at_once
    assert _open_tars(folder) == 2
    again = pickle.loads(pickle.dumps(shards))
    assert _open_tars(folder) == 2
    assert [again.read(i) for i in range(3)] == all_at_once[:3]
    del shards, again
    gc.collect()
    assert _open_tars(folder) == 0


def test_a_table_of_an_older_version_says_so(folder: Path) -> None:
    import hashlib

    import pyarrow.parquet as pq

    table = pq.read_table(folder / "samples.parquet").drop_columns("crc32")
    pq.write_table(table, folder / "samples.parquet")
    digest = hashlib.sha256((folder / "samples.parquet").read_bytes()).hexdigest()
    _edit(folder / "manifest.json", samples_sha256=digest)
    with pytest.raises(ShardError, match=r"another version: .*crc32"):
        ShardSet.open([folder], "train")


def test_png_mris_too(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "png", make_samples(2, 2, mri_format="png"), mri_format="png")
    shards = ShardSet.open([folder], "train", kind="pairs")
    assert {bytes(shards.read(i)[1] or b"")[:4] for i in range(4)} == {b"\x89PNG"}
    assert encode(picture(0), "png")[:4] == b"\x89PNG"
