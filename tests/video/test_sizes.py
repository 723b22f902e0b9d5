"""Frames of several sizes, pixels that are not square, several streams: shown as they are, and said."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mrigan.config import FacesConfig
from mrigan.detect.annotate import annotate
from mrigan.detect.findings import Findings
from mrigan.detect.gaps import gaps_of
from mrigan.detect.verdict import Verdict
from mrigan.errors import InputError
from mrigan.video import probe, read_frames
from mrigan.video.packets import RefusedError, taken_apart
from tests.clips import counter_frames, read_counter, write_clip

COUNT = 12
CODECS = {
    "h264": ("libx264", "ts", {"bf": "2"}),
    "hevc": ("libx265", "ts", {"x265-params": "log-level=none"}),
    "mpeg2": ("mpeg2video", "ts", {}),
    "vp8": ("libvpx", "webm", {"deadline": "realtime", "auto-alt-ref": "0"}),
    "vp9": ("libvpx-vp9", "webm", {"deadline": "realtime", "cpu-used": "8"}),
}


def joined(path: Path, kind: str, sizes: Sequence[tuple[int, int]], header: int = 0) -> Path:
    """One stream in which each piece has its own size; the container's header is that of piece `header`."""
    codec, suffix, options = CODECS[kind]
    pieces = [
        write_clip(path.parent / f"{i}.{suffix}", counter_frames(COUNT, size), codec=codec, options=options)
        for i, size in enumerate(sizes)
    ]
    with av.open(str(pieces[header])) as template, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(template.streams.video[0])
        for number, piece in enumerate(pieces):
            with av.open(str(piece)) as source:
                video = source.streams.video[0]
                packets = [p for p in source.demux(video) if p.size]
                step = round(Fraction(1, 25) / video.time_base)
                start = min(p.pts for p in packets)
                for packet in packets:
                    again = av.Packet(bytes(packet))
                    again.stream, again.time_base, again.is_keyframe = stream, video.time_base, packet.is_keyframe
                    again.pts = packet.pts - start + number * COUNT * step
                    again.dts = packet.dts - start + number * COUNT * step
                    out.mux(again)
    return path


@pytest.mark.parametrize(
    ("kind", "suffix", "header"),
    [
        ("h264", "ts", 0),
        ("h264", "mp4", 0),
        ("h264", "mkv", 1),
        ("hevc", "mp4", 0),
        ("hevc", "mkv", 0),
        ("mpeg2", "ts", 0),
        ("vp8", "webm", 0),
        ("vp8", "webm", 1),
        ("vp9", "webm", 0),
        ("vp9", "mp4", 0),
    ],
)
def test_a_stream_that_grows_and_shrinks_is_shown_at_its_largest_size(
    tmp_path: Path, kind: str, suffix: str, header: int
) -> None:
    path = joined(tmp_path / f"a.{suffix}", kind, [(96, 64), (192, 128), (96, 64)], header)
    changes: list[tuple[float, tuple[int, int]]] = []
    frames = list(read_frames(path, every=1, changes=changes)) if kind != "mpeg2" else mostly(path, changes)
    assert {frame.image.shape for frame in frames} == {(128, 192, 3)}
    assert [(f.index, read_counter(f.image)) for f in frames] == [(f.index, f.index % COUNT) for f in frames]
    assert [size for _, size in changes] == [(96, 64), (192, 128), (96, 64)]
    assert [time for time, _ in changes] == pytest.approx([0, COUNT / 25, 2 * COUNT / 25], abs=0.005)
    info = probe(path)
    assert (info.width, info.height) == (192, 128)
    (frame,) = read_frames(path, indices=[1])
    assert frame.image.shape == (128, 192, 3)  # whatever is read of it


def mostly(path: Path, changes: list[tuple[float, tuple[int, int]]]) -> list:
    """MPEG-2's decoder gives up the last frame before a change."""
    frames = []
    with pytest.raises(InputError, match="2 of 36 frames"):
        frames.extend(read_frames(path, every=1, changes=changes))
    return frames


@pytest.mark.parametrize("kind", ["vp8", "h264"])
def test_a_telephone_that_is_turned_squeezes_nobody(tmp_path: Path, kind: str) -> None:
    path = joined(tmp_path / "a.mkv", kind, [(192, 128), (128, 192)])
    frames = list(read_frames(path, every=1))
    assert {frame.image.shape for frame in frames} == {(128, 192, 3)}
    upright = frames[-1].image
    width = round(128 * 128 / 192)
    left = (192 - width) // 2
    assert read_counter(upright[:, left : left + width]) == COUNT - 1
    expected = cv2.resize(counter_frames(COUNT, (128, 192))[-1], (width, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(upright[:, left : left + width].astype(int) - expected).mean() < 12
    assert upright[:, : left - 1].max() == upright[:, left + width + 1 :].max() == 0


def test_dali_is_not_given_what_it_would_show_otherwise(tmp_path: Path) -> None:
    growing = joined(tmp_path / "a.webm", "vp8", [(96, 64), (192, 128)])
    with pytest.raises(RefusedError, match="size of its frames changes"), taken_apart(growing, {"vp8"}, {"yuv420p"}):
        pass
    wide = anamorphic(tmp_path / "b.mp4", Fraction(2))
    with pytest.raises(RefusedError, match="not square"), taken_apart(wide, {"h264"}, {"yuv420p"}):
        pass


def anamorphic(path: Path, ratio: Fraction, rotation: int | None = None) -> Path:
    """A clip of pixels that are `ratio` times as wide as high."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv420p"
        stream.codec_context.sample_aspect_ratio = ratio
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for i, image in enumerate(counter_frames(COUNT)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "ratio", "size"),
    [
        ("a.mp4", Fraction(2), (384, 128)),
        ("a.mkv", Fraction(16, 11), (279, 128)),
        ("a.ts", Fraction(10, 11), (175, 128)),
        ("a.mov", Fraction(1, 2), (96, 128)),
        ("a.mp4", Fraction(1001, 1000), (192, 128)),  # nobody sees it
        ("a.mp4", Fraction(50), (192, 128)),  # nonsense
    ],
)
def test_pixels_that_are_not_square(tmp_path: Path, name: str, ratio: Fraction, size: tuple[int, int]) -> None:
    path = anamorphic(tmp_path / name, ratio)
    frames = list(read_frames(path, every=1))
    assert {frame.image.shape for frame in frames} == {(size[1], size[0], 3)}
    assert [read_counter(frame.image) for frame in frames] == list(range(COUNT))
    expected = cv2.resize(counter_frames(COUNT)[7], size, interpolation=cv2.INTER_LINEAR)
    assert np.abs(frames[7].image.astype(int) - expected).mean() < 8
    info = probe(path)
    assert (info.width, info.height) == size


def test_pixels_that_are_not_square_are_turned_with_the_picture(tmp_path: Path) -> None:
    path = anamorphic(tmp_path / "a.mp4", Fraction(2), rotation=90)
    (frame,) = read_frames(path, indices=[5])
    wide = cv2.resize(counter_frames(COUNT)[5], (384, 128), interpolation=cv2.INTER_LINEAR)
    assert frame.image.shape == (384, 128, 3)
    assert np.abs(frame.image.astype(int) - np.rot90(wide)).mean() < 8
    info = probe(path)
    assert (info.width, info.height) == (128, 384)
    judged = Verdict(str(path), None, "undecided", "no_face")
    assert annotate(judged, tmp_path / "out.mp4") == COUNT
    (copy,) = read_frames(tmp_path / "out.mp4", indices=[5])
    assert np.abs(copy.image.astype(int) - frame.image).mean() < 8


def test_each_stream_that_is_not_looked_at_is_named(tmp_path: Path) -> None:
    """Two cameras in one file, and a cover: one is looked at. Data and sound are no pictures."""
    path = tmp_path / "two.mp4"
    with av.open(str(path), "w") as out:
        streams = []
        for size, disposition in (((192, 128), 0), ((96, 64), 0), ((64, 64), av.stream.Disposition.attached_pic)):
            stream = out.add_stream("mjpeg" if disposition else "libx264", rate=25)
            stream.width, stream.height = size
            stream.pix_fmt = "yuvj420p" if disposition else "yuv420p"
            if disposition:
                stream.disposition = disposition
            streams.append(stream)
        sound = out.add_stream("aac", rate=48_000)
        sound.layout = "mono"
        for i in range(COUNT):
            for stream in streams[:2] if i else streams:
                frame = av.VideoFrame.from_ndarray(counter_frames(COUNT, (stream.width, stream.height))[i])
                frame.pts = i
                out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode())
    assert [read_counter(f.image) for f in read_frames(path, every=5)] == [0, 5, 10]
    others = probe(path).others
    assert [line.split(" (")[0] for line in others] == ["video stream 1", "cover picture 2"]
    assert "h264, 96 × 64 px" in others[0]
    assert said(Findings(frames=2, total=12, others=others))["other_streams"] == (
        "Not looked at in this file: video stream 1 (h264, 96 × 64 px); cover picture 2 (mjpeg, 64 × 64 px)."
    )


def test_each_change_of_size_is_said() -> None:
    changes = [(0.0, (96, 72)), (0.4, (384, 288)), (2.0, (96, 72))]
    detail = said(Findings(frames=2, size=(384, 288), changes=changes))["frame_size_changes"]
    assert detail.startswith(
        "The size of the frames changes 2 times: 96 × 72 px from 0.0 s, 384 × 288 px from 0.4 s, 96 × 72 px from 2.0 s."
    )
    assert "brought to 384 × 288 px" in detail
    assert "frame_size_changes" not in said(Findings(frames=2, size=(96, 72), changes=changes[:1]))


def said(findings: Findings) -> dict[str, str]:
    """What a verdict says of what was not analysed."""
    return {gap.what: gap.detail for gap in gaps_of(findings, False, FacesConfig(), False)}


def test_frames_that_an_edit_list_hides_are_not_counted(tmp_path: Path) -> None:
    """A cut without coding anew: an edit list starts in the middle of a group, what is before is decoded and hidden."""
    whole = write_clip(
        tmp_path / "whole.mp4", counter_frames(30), options={"x264-params": "keyint=10:scenecut=0:bframes=0"}
    )
    path = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(path), "w") as out:
        video = source.streams.video[0]
        stream = out.add_stream_from_template(video)
        step = round(Fraction(1, 25) / video.time_base)
        for packet in source.demux(video):
            if packet.size and packet.pts >= 10 * step:
                packet.pts -= 14 * step  # negative times: the muxer writes an edit list that hides them
                packet.dts -= 14 * step
                packet.stream = stream
                out.mux(packet)
    frames = list(read_frames(path, every=1))
    assert [(f.index, read_counter(f.image)) for f in frames] == [(i, i + 14) for i in range(16)]
    assert frames[0].time == 0
    assert probe(path).frames == 16
    assert [read_counter(f.image) for f in read_frames(path, indices=[0, 9])] == [14, 23]
