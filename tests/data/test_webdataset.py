"""The loader that streams: its samples are those of the other loaders, and it says what it does not promise."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import os
import resource
import shutil
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from mrigan.data import Batch, EpochPlan, Samples, ShardSet, local_folders
from mrigan.data.backends import webdataset
from mrigan.data.batch import DecodedBatch, Request
from mrigan.errors import ConfigError, ShardError
from mrigan.storage import Storage, fetch, fetching, open_storage, open_stream, pipe
from mrigan.storage.urls import NoRangesError
from tests.builders import SIZE, train_loader
from tests.data.loading import same
from tests.data.serving import Serve
from tests.data.shards import Sample, write_shards

TAR = "train-fake-000001.tar"


pytestmark = pytest.mark.usefixtures("others")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0.001)


def stream(shards: ShardSet, plan: EpochPlan, **options) -> list[Batch]:
    with train_loader(shards, plan, library="webdataset", **{"seed": 3} | options) as batches:
        return list(batches)


def opened(url: str, cache: Path) -> ShardSet:
    """The training split of a set of which no training shard is staged."""
    (folder,) = local_folders([url], cache, ("val",))
    assert not list(folder.glob("train-*"))
    return ShardSet.open([folder], "train", sources=[url])


def jitter(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(face.astype(int) + rng.integers(-40, 41), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("changes", [{}, {"augment": jitter}, {"mri": False, "size": 48}])
def test_a_sample_is_what_the_other_loaders_make_of_it(shards: ShardSet, plan: EpochPlan, changes: dict) -> None:
    samples = Samples(shards, **{"size": SIZE, "seed": 3, "flip": 0.5} | changes)
    batches = stream(shards, plan, stop_step=20, **changes)
    assert {int(epoch) for batch in batches for epoch in batch.epoch} >= {0, 1, 2}
    for step, batch in enumerate(batches):
        request = Request(step, batch.ids.numpy(), batch.epoch.numpy())
        expected = DecodedBatch(samples, request, lambda shape: torch.empty(shape, dtype=torch.uint8))
        expected.fill(0, len(request))
        assert same(batch, expected.finished())


def test_every_source_gives_the_same_stream(
    pairs: Path, serve: Serve, shards: ShardSet, plan: EpochPlan, tmp_path: Path
) -> None:
    expected = stream(shards, plan)
    for source in (serve().url, f"pipe:cat {pairs}/{{}}", f"file://{pairs}", str(pairs)):
        remote = opened(source, tmp_path / "cache")
        assert remote.hash == shards.hash
        got = stream(remote, plan)
        assert all(same(a, b) for a, b in zip(got, expected, strict=True))
        assert remote.read(5) == shards.read(5)  # single samples too, for what looks at a few


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_stream_shares_of_their_own(
    shards: ShardSet, plan: EpochPlan, workers: int, serve: Serve, tmp_path: Path
) -> None:
    remote = opened(serve().url, tmp_path / "cache")
    got = stream(remote, plan, workers=workers, stop_step=8)
    assert [batch.step for batch in got] == list(range(8))
    again = stream(shards, plan, workers=workers, stop_step=8)
    assert all(same(a, b) for a, b in zip(got, again, strict=True))
    assert not _seen(got[::workers]) & _seen(got[1::workers]) if workers == 2 else _seen(got)


def _seen(batches: list[Batch]) -> set[tuple[int, int]]:
    return {pair for batch in batches for pair in zip(batch.ids.tolist(), batch.epoch.tolist(), strict=True)}


def test_a_pass_holds_every_sample_once(shards: ShardSet, plan: EpochPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdataset, "BUFFER", 40)  # what waits in it comes soon
    ranks = [stream(shards, plan, rank=rank, world_size=2, stop_step=60) for rank in range(2)]
    pairs = Counter(
        pair for batch in itertools.chain(*ranks) for pair in zip(batch.epoch.tolist(), batch.ids.tolist(), strict=True)
    )
    assert set(pairs.values()) == {1}
    for label in (0, 1):
        ids = set(np.flatnonzero(shards.labels == label).tolist())
        assert {i for epoch, i in pairs if epoch == 0 and i in ids} == ids


def test_classes_are_balanced_on_average_or_as_the_set_is(shards: ShardSet, plan: EpochPlan) -> None:
    fakes = np.concatenate([batch.label.numpy() for batch in stream(shards, plan, stop_step=100)])
    assert abs(fakes.mean() - 0.5) < 0.06  # of 1,200: four standard deviations
    assert len({int(batch.label.sum()) for batch in stream(shards, plan)}) > 1  # not in every batch
    as_it_is = EpochPlan(shards.labels, 1, balance=False)
    fakes = np.concatenate([batch.label.numpy() for batch in stream(shards, as_it_is, stop_step=100)])
    assert abs(fakes.mean() - 53 / 83) < 0.06


def test_a_start_is_repeatable_and_another_start_has_another_order(shards: ShardSet, plan: EpochPlan) -> None:
    first, again = stream(shards, plan, stop_step=6), stream(shards, plan, stop_step=6)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    resumed = stream(shards, plan, start_step=3, stop_step=6)
    assert [batch.step for batch in resumed] == [3, 4, 5]
    assert not any(torch.equal(a.ids, b.ids) for a, b in itertools.product(resumed, first))


def test_a_connection_that_breaks_goes_on_where_it_was(
    serve: Serve, shards: ShardSet, plan: EpochPlan, tmp_path: Path
) -> None:
    for ranges in (True, False):
        server = serve(**{TAR: [{"short": 3000}, {"short": 4000}], "ranges": ranges})
        got = stream(opened(server.url, tmp_path / f"cache-{ranges}"), plan)
        assert all(same(a, b) for a, b in zip(got, stream(shards, plan), strict=True))
        assert len(server.requests(TAR)) >= 3


@pytest.mark.parametrize("ranges", [True, False])
def test_a_stream_goes_on_at_the_byte_where_it_broke(tmp_path: Path, ranges: bool) -> None:
    data = np.random.default_rng(0).bytes(20_000)
    (tmp_path / "file").write_bytes(data)
    starts = []

    class Flaky(Storage):
        def chunks(self, name: str, start: int) -> Iterator[bytes]:
            if start and not ranges:
                raise NoRangesError
            starts.append(start)
            piece = 900 + len(starts)  # every try cuts in other places
            for k, at in enumerate(range(start, len(data), piece)):
                if k == 3 + 3 * len(starts) * (not ranges):
                    raise ConnectionResetError
                yield data[at : at + piece]

    with open_stream(Flaky(str(tmp_path)), "file", len(data)) as stream:
        assert stream.read() == data
    assert len(starts) > 3
    assert (starts[1] > 0) is ranges
    with open_stream(Storage(str(tmp_path)), "file", 5000) as stream:
        assert stream.read() == data[:5000]  # no byte after the size that is promised


def _broken(pairs: Path, folder: Path, change) -> Path:
    """A copy of the set in which `change` has edited the bytes of one tar."""
    shutil.copytree(pairs, folder)
    data = bytearray((folder / TAR).read_bytes())
    (folder / TAR).write_bytes(change(data))
    return folder


def test_a_bad_sample_stops_or_is_skipped_and_counted(
    pairs: Path, plan: EpochPlan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shards = ShardSet.open([pairs], "train")
    row = next(row for row in shards.rows.to_pylist() if row["shard"] == TAR)

    def flip(data: bytearray) -> bytearray:
        data[row["face_offset"] + 40] ^= 64
        return data

    bad = ShardSet.open([_broken(pairs, tmp_path / "bad", flip)], "train")
    with pytest.raises(ShardError, match=rf"the face of sample {row['key']} .*CRC-32.*\n.*{TAR} at byte"):
        stream(bad, plan, stop_step=30)
    with train_loader(bad, plan, library="webdataset", on_bad="skip", stop_step=30) as loader:
        batches = list(loader)
    (skipped,) = loader.skipped
    assert bad.key(skipped) == row["key"]
    assert all(len(batch) == 12 for batch in batches)
    assert skipped not in {i for batch in batches for i in batch.ids.tolist()}
    assert "bad samples that were skipped: 1\n" in caplog.text
    bad.verify = "never"
    assert stream(bad, plan, stop_step=30)


def _renamed(data: bytearray) -> bytes:
    """The tar with another key for its first sample."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        first = old.getnames()[0].partition(".")[0]
        for member in old.getmembers():
            member.name = member.name.replace(first, "0" * len(first))
            new.addfile(member, old.extractfile(member))
    return out.getvalue()


def _sparse(data: bytearray) -> bytes:
    """A tar of GNU's old format with one file: a hole of 1 TiB."""
    header = bytearray(tarfile.TarInfo("000000000000-000000-00.face.jpg").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:410] = b"%011o\0" % 0 * 2  # one piece: at 0, no bytes
    header[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header).ljust(len(data), b"\0")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_sparse, "holds 0 of the 10 samples"),
        (lambda data: gzip.compress(bytes(data), 9)[: len(data)].ljust(len(data), b"\0"), "is not a sound tar"),
        (lambda data: data[:3000], r"cannot be fetched, after 5 tries: it ended after 3000 of \d+ bytes"),
        (_renamed, "holds 9 of the 10 samples"),
        (lambda data: b"\1" * len(data), "is not a sound tar"),
        (lambda data: bytes(len(data)), "holds 0 of the 10 samples"),
    ],
)
def test_a_shard_that_is_not_what_its_table_says(
    pairs: Path,
    plan: EpochPlan,
    tmp_path: Path,
    change,
    words: str,
) -> None:
    shards = ShardSet.open([pairs], "train", sources=[str(_broken(pairs, tmp_path / "bad", change))])
    shards.verify = "never"
    for workers in (0, 1):
        with pytest.raises(ShardError, match=words) as caught:
            stream(shards, plan, stop_step=30, workers=workers)
        assert TAR in str(caught.value)


def test_a_command_that_fails_or_hangs_is_an_error(
    pairs: Path, plan: EpochPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shards(command: str) -> ShardSet:
        return ShardSet.open([pairs], "train", sources=[command])

    with pytest.raises(ShardError, match=r"exit code 3: no such bucket\n.*train-\w+-\d+.tar"):
        stream(shards("pipe:echo no such bucket >&2; exit 3; {}"), plan)
    bad = shards(f"pipe:head -c 4000 {pairs}/{{}}; head -c 999999 /dev/zero")
    with pytest.raises(ShardError, match=r"to do: mrigan shards verify DIR, where the set lies"):
        stream(bad, plan)
    with pytest.raises(ConfigError, match=r"write \{\} for the name"):
        stream(shards("pipe:cat"), plan)
    monkeypatch.setattr(pipe, "MAX_SILENCE", 0.05)
    pid = tmp_path / "pid"
    with pytest.raises(ShardError, match=r"wrote nothing for 0.05 seconds"):
        stream(shards(f"pipe:echo $$ > {pid}; head -c 600 {pairs}/{{}}; sleep 600; true"), plan)
    assert _end(pid)


def test_a_command_that_does_not_end_after_its_output_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe, "MAX_SILENCE", 0.05)
    storage = open_storage(f"pipe:echo $$ > {tmp_path}/pid; echo {{}}; exec >&-; sleep 600; true")
    with pytest.raises(TimeoutError, match=r"did not end within 0.05 seconds"):
        storage.read_once("name")
    assert _end(tmp_path / "pid")


def test_a_command_is_read_in_a_process_with_many_open_files(tmp_path: Path) -> None:
    """Files have numbers above 1,023, which select() does not take; the rest of a part of a file arrives, too."""
    data = bytes(range(256))
    (tmp_path / "file").write_bytes(data)
    (tmp_path / ".copy.part").write_bytes(data[:100])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    many = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        storage = open_storage(f"pipe:cat {tmp_path}/{{}}")
        fetch(storage, "file", tmp_path / "copy", size=256, sha256=hashlib.sha256(data).hexdigest())
    finally:
        for file in many:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (tmp_path / "copy").read_bytes() == data


def test_names_in_a_set_are_never_commands(pairs: Path, samples: list[Sample], tmp_path: Path) -> None:
    folder, token = tmp_path / "set", tmp_path / "token"
    write_shards(folder, samples)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in (f"$(touch {token}).tar", f"x;touch {token};.tar", f"pipe:touch {token}", f"'; touch {token}; '"):
        manifest["shards"][0]["shard"] = name
        (folder / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ShardError, match="a shard is called"):
            local_folders([f"pipe:cat {folder}/{{}}"], tmp_path / "cache", ("val",))
        with pytest.raises(ShardError, match="a file is called"):
            open_storage(f"pipe:cat '{folder}/{{}}'").read_once(name)
    assert not token.exists()


def test_what_streaming_cannot_do_is_refused(shards: ShardSet, plan: EpochPlan) -> None:
    with pytest.raises(ConfigError, match="decodes on the CPU"):
        stream(shards, plan, decode_on="cuda")


def test_closing_early_stops_processes_and_commands(pairs: Path, plan: EpochPlan, tmp_path: Path) -> None:
    shards = ShardSet.open([pairs], "train", sources=[f"pipe:echo $$ >> {tmp_path}/pids; cat {pairs}/{{}}"])
    for workers in (0, 2):
        with train_loader(shards, plan, library="webdataset", workers=workers, stop_step=10**6) as batches:
            next(batches)
        assert next(batches, None) is None
    assert _end(tmp_path / "pids")


def _end(groups: Path) -> bool:
    """Whether all processes of these process groups end, after the SIGKILL that they were sent."""
    pids = groups.read_text().split()
    assert pids
    deadline = time.monotonic() + 60
    while _alive(pids) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return not _alive(pids)


def _alive(groups: list[str]) -> list[str]:
    """The groups with a process, but for dead ones that nobody has waited for."""
    stats = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            stats.append(path.read_text().rpartition(")")[2].split())
    return [group for state, _, group, *_ in stats if group in groups and state != "Z"]
