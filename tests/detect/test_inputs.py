"""Which files are judged, and pictures of every kind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mrigan.detect import detect_paths
from mrigan.detect.inputs import expand, is_url
from mrigan.errors import InputError
from mrigan.video.stills import read_picture, shown


def test_a_folder_stands_for_its_files(clips: Path, tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MOV", "notes.txt", ".hidden.mp4", "no-suffix"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "picture.dat").write_bytes((clips / "face.png").read_bytes())
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.mp4").write_bytes(b"x")
    inputs, skipped = expand([tmp_path, clips / "one.mp4"])
    assert [(os.path.basename(i.path), i.picture) for i in inputs] == [
        ("a.MOV", False), ("b.mp4", False), ("picture.dat", True), ("one.mp4", False)]  # fmt: skip
    left = "\n".join(skipped)
    for name in ("notes.txt", ".hidden.mp4", "no-suffix", "sub"):
        assert name in left
    assert len(skipped) == 4
    assert all(i.picture for i in expand([tmp_path], pictures=True)[0])
    assert expand(["no such file.mp4", "gone.jpg"])[0][0].path == "no such file.mp4"


def test_a_tree_of_folders(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/x.mp4", "a/deep/y.mp4", "c/z.mp4", ".hidden/h.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "loop").symlink_to(".")
    inputs, left = expand([tmp_path], recursive=True)
    assert [os.path.relpath(i.path, tmp_path) for i in inputs] == ["a/deep/y.mp4", "a/x.mp4", "b.mp4", "c/z.mp4"]
    assert len(left) == 2
    assert "a link to a folder" in next(line for line in left if "loop" in line)
    inputs, left = expand([tmp_path])
    assert [os.path.basename(i.path) for i in inputs] == ["b.mp4"]
    assert f"{tmp_path}/a: a sub-folder; --recursive includes it" in left


def test_a_url_is_not_opened(models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    urls = ["https://example.org/watch?v=1", "HTTP://a.b/c.mp4", "file:///etc/passwd", "s3://bucket/[1].jpg"]
    (tmp_path / "list.txt").write_text("\n".join(urls[1:]))
    verdicts = detect_paths([urls[0], "@list.txt"], models["fake"])
    assert [v["path"] for v in verdicts] == urls
    for v in verdicts:
        assert (v["verdict"], v["reason"]) == ("undecided", "unreadable")
        assert v["not_analysed"][0]["detail"] == (
            "Mrigan opens no URL: download it first, keep the file and its SHA-256."
        )
    (tmp_path / "a:").mkdir()
    (tmp_path / "a:" / "b.mp4").touch()
    assert not is_url("a://b.mp4")  # the name of a file that is there


def test_names_can_always_be_printed() -> None:
    assert shown(os.fsdecode(b"caf\xe9\n\x1b[31m.mp4")) == "caf�\\n\\x1b[31m.mp4"
    assert shown("人.mp4") == "人.mp4"


def test_pictures_of_every_mode_and_turn(tmp_path: Path) -> None:
    rgb = Image.fromarray(np.tile(np.arange(0, 240, dtype=np.uint8)[:, None, None], (1, 80, 3)))
    for mode, name in (("RGB", "a.jpg"), ("RGBA", "a.png"), ("L", "g.png"), ("P", "p.gif"), ("CMYK", "c.jpg"),
                       ("1", "b.bmp"), ("LA", "l.webp")):  # fmt: skip
        rgb.convert(mode).save(tmp_path / name)
        image, count = read_picture(str(tmp_path / name))
        assert (image.shape, image.dtype, count) == ((240, 80, 3), np.uint8, 1), name
    deep = np.arange(0, 65_280, 272, dtype=np.uint16).reshape(-1, 1).repeat(8, 1)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert read_picture(str(tmp_path / "deep.png"))[0][:, 0, 0].tolist() == (deep[:, 0] // 256).tolist()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90°: the stored top row is the right column
    rgb.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    turned, _ = read_picture(str(tmp_path / "turned.jpg"))
    assert turned.shape == (80, 240, 3)
    assert turned[40, -1, 0] < 10
    assert turned[40, 0, 0] > 200
    rgb.save(tmp_path / "many.gif", save_all=True, append_images=[rgb.rotate(180)])
    assert read_picture(str(tmp_path / "many.gif"))[1] == 2


def test_bad_pictures_are_refused(clips: Path, tmp_path: Path) -> None:
    whole = (clips / "face.png").read_bytes()
    bomb = tmp_path / "bomb.png"
    Image.new("1", (9_000, 9_000)).save(bomb)
    os.mkfifo(tmp_path / "pipe.png")
    for name, content in (("zero.png", b""), ("cut.png", whole[: len(whole) // 2]), ("text.jpg", b"hello"),
                          ("eps.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")):  # fmt: skip
        (tmp_path / name).write_bytes(content)
    for name in ("zero.png", "cut.png", "text.jpg", "eps.jpg", "bomb.png", "pipe.png", "gone.png", "nul\0.png"):
        with pytest.raises(InputError):
            read_picture(str(tmp_path / name))
