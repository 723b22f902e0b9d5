"""Clips or libraries that changed since the plan was made: refused, and named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from mrigan.catalog import Catalog, read_catalog, write_catalog
from mrigan.checked_json import read_checked_json, write_checked_json
from mrigan.cli.app import app
from mrigan.errors import ShardError
from mrigan.packing import Plan, build_shards, check_shards, load_plan, plan_shards, read_rows
from mrigan.packing.contents import is_content, whole_fingerprint, without_sha256
from mrigan.packing.libraries import libraries, refuse_other_libraries
from mrigan.packing.record import absent_inputs, read_inputs
from mrigan.packing.verify import Check
from tests.packing.conftest import PNG, Built, config

Own = tuple[Path, Callable[[], Plan], Path]  # the videos, plan anew, the shard folder


@pytest.fixture
def own(built: Built, tmp_path: Path) -> Own:
    """The two clips of the val family, which a test may change, planned but not built."""
    videos = tmp_path / "videos"
    videos.mkdir()
    clips = [clip for clip in read_catalog(built.catalog).clips if clip.split == "val"]
    for clip in clips:
        shutil.copy(built.clips.path(clip), videos / clip.path)
        (videos / clip.path).chmod(0o644)
    write_catalog(Catalog(videos, clips), tmp_path / "catalog.parquet")

    def plan() -> Plan:
        return plan_shards(tmp_path / "catalog.parquet", config(*PNG), tmp_path / "shards")

    plan()
    return videos, plan, tmp_path / "shards"


def change(path: Path, *, longer: bool = True) -> None:
    """Another content: of another length, or of the same."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(bytes(data) + b"more" * longer)


def test_the_plan_records_the_clips_as_they_are(own: Own) -> None:
    videos, _, out = own
    facts = read_inputs(load_plan(out))
    stats = {f"toy/{'swap' if 'swap' in p.name else 'original'}/-/{p.stem}": p.stat() for p in videos.iterdir()}
    assert facts == {clip: (about.st_size, about.st_mtime_ns) for clip, about in stats.items()}
    recorded = json.loads((out / "plan.json").read_text())["libraries"]
    assert recorded["opencv"].startswith(cv2.__version__)
    assert recorded.keys() == {"opencv", "pyav", "ffmpeg", "torch", "facenet-pytorch", "numpy"}


def test_a_changed_clip_is_refused_by_name(own: Own) -> None:
    videos, plan, out = own
    size = (videos / "smith.mp4").stat().st_size
    change(videos / "smith.mp4")
    with pytest.raises(ShardError, match=rf"1 clips changed[^:]*:\n +smith.mp4: {size} → {size + 4} bytes"):
        build_shards(out, workers=1)
    assert not list(out.glob("*.tar"))
    plan()  # nothing is built: the plan takes the clips as they are now
    assert build_shards(out, workers=1).stored
    change(videos / "smith-swap.mp4")
    with pytest.raises(ShardError, match=r"smith-swap\.mp4"):
        plan()


def test_a_clip_that_is_gone_or_back_is_no_change(own: Own) -> None:
    videos, plan, out = own
    (videos / "smith-swap.mp4").rename(videos / "elsewhere")
    assert absent_inputs(plan()) == 1
    (videos / "elsewhere").rename(videos / "smith-swap.mp4")
    (videos / "smith.mp4").rename(videos / "elsewhere")
    with pytest.raises(ShardError, match="not a single face"):
        build_shards(out, workers=1)
    rows = read_rows(out / "samples.parquet").to_pylist()
    assert [(row["name"], row["status"], row["reason"].split(":")[0]) for row in rows] == [
        ("smith", "failed", "unreadable"),
        ("smith-swap", "dropped", "missing_original"),
    ]


def test_verify_tells_clips_that_are_no_longer_those_of_the_samples(own: Own) -> None:
    videos, _, out = own
    build_shards(out, workers=1)
    os.utime(videos / "smith.mp4")  # touched, and still the same
    assert check_shards(out, workers=1, inputs="size").ok
    change(videos / "smith-swap.mp4", longer=False)
    check = check_shards(out, workers=1, inputs="size")
    assert (check.changed, check.damages, check.ok) == (["smith-swap.mp4"], [], False)
    assert check_shards(out, workers=1).ok


def test_verify_by_content_sees_what_size_time_and_both_ends_do_not(own: Own) -> None:
    videos, plan, out = own
    clip = videos / "smith-swap.mp4"
    padding = 2**18  # in a box that players skip
    clip.write_bytes(clip.read_bytes() + padding.to_bytes(4) + b"free" + bytes(padding - 8))
    plan()
    build_shards(out, workers=1)
    assert verify(out, "--inputs=content") == 0
    about, data = clip.stat(), bytearray(clip.read_bytes())
    data[-(2**17)] ^= 1
    clip.write_bytes(data)
    os.utime(clip, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert verify(out, "--inputs") == verify("--inputs", out) == verify(out, "--inputs", "size") == 0
    assert verify("--inputs", "content", out) == verify(out, "--inputs=content", "--sample") == 1
    assert check_shards(out, workers=1, inputs="content").changed == ["smith-swap.mp4"]
    assert verify(out, "--inputs=time") == 1


def verify(*words: object) -> int:
    """Exit code of the command."""
    return CliRunner().invoke(app, ["shards", "verify", *map(str, words)]).exit_code


def test_of_older_sets_verify_says_what_it_cannot_see(tmp_path: Path) -> None:
    """Their fingerprints have no SHA-256."""
    clip = tmp_path / "clip"
    clip.write_bytes(bytes(2**18))
    whole = whole_fingerprint(clip)
    assert whole is not None
    older = whole.rpartition("-")[0]
    clip.write_bytes(bytes(2**17) + b"x" + bytes(2**17 - 1))
    assert [is_content(clip, made_of, whole=True) for made_of in (whole, older)] == [False, True]
    assert is_content(clip, whole)  # by size and both ends
    assert without_sha256({"a": whole, "b": older, "c": None}) == 1
    assert "1 clips have no SHA-256" in Check("", "", True, [], unproven=1).lines()[0]


def test_other_libraries_are_refused_by_name(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    _, plan, out = own
    about, _ = read_checked_json(out / "plan.json")
    about["libraries"]["opencv"] = "3.4.1"
    write_checked_json(out / "plan.json", about)
    with pytest.raises(ShardError, match=rf"opencv: 3\.4\.1 → {cv2.__version__}"):
        build_shards(out, workers=1)
    plan()  # nothing is built: these will be the plan's
    build_shards(out, workers=1)
    monkeypatch.setattr("mrigan.packing.plan.libraries", lambda *of: libraries(*of) | {"torch": "9.0"})
    monkeypatch.setattr("mrigan.packing.libraries.libraries", lambda *of: libraries(*of) | {"torch": "9.0"})
    with pytest.raises(ShardError, match=r"torch: .* → 9\.0"):
        plan()


def test_a_plan_names_the_dali_that_may_decode_and_no_other(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = tmp_path / "catalog.parquet"
    assert "dali" not in plan_shards(catalog, config(*PNG), tmp_path / "plain").libraries
    here = plan_shards(catalog, config(*PNG, "video.device=cuda"), tmp_path / "auto").libraries["dali"]
    try:
        assert here == version("nvidia-dali-cuda130")
    except PackageNotFoundError:
        assert here == "none"
    plan = plan_shards(catalog, config(*PNG, "video.decoder=dali"), tmp_path / "dali")
    assert plan.libraries["dali"] == here
    monkeypatch.setattr("mrigan.packing.libraries.DALI", ("a-package-that-nobody-has",))
    if here != "none":
        with pytest.raises(ShardError, match=rf"dali: {here} → none"):
            refuse_other_libraries(plan)
    refuse_other_libraries(load_plan(tmp_path / "plain"))


def test_a_lost_record_is_mended_by_planning_again(own: Own) -> None:
    _, plan, out = own
    before = (out / "inputs.parquet").read_bytes()
    (out / "inputs.parquet").write_bytes(b"PAR1")
    with pytest.raises(ShardError, match="plan again"):
        build_shards(out, workers=1)
    plan()
    assert (out / "inputs.parquet").read_bytes() == before


def test_a_network_in_float32_binds_a_plan_to_the_instructions_of_its_processor(own: Own, tmp_path: Path) -> None:
    plan = plan_shards(tmp_path / "catalog.parquet", config(*PNG), tmp_path / "plain")
    assert not any("instructions" in name for name in plan.libraries)
    for learned in (config(*PNG, "mri.metric=lpips"), config(*PNG, "faces.landmarks=mesh")):
        here = libraries(learned)
        refuse_other_libraries(replace(plan, config=learned, libraries=here))
        older = {**here, "instructions of the processor": "NONE"}
        with pytest.raises(ShardError, match="instructions of the processor: NONE → "):
            refuse_other_libraries(replace(plan, config=learned, libraries=older))
