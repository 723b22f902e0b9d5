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
    assert f"{tmp_path}/a: a sub-folder; use --recursive to include it" in left


def test_a_url_is_not_opened(models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    urls = ["https://example.org/watch?v=1", "HTTP://a.b/c.mp4", "file:///etc/passwd", "s3://bucket/[1].jpg"]
    (tmp_path / "list.txt").write_text("\n".join(urls[1:]))
    verdicts = [v.to_json() for v in detect_paths([urls[0], "@list.txt"], models["fake"])]
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


@pytest.mark.parametrize(("kind", "scale"), [(np.int32, 65_793), (np.float32, 1 / 255)])
def test_a_picture_of_unknown_black_and_white_is_refused(tmp_path: Path, kind: type, scale: float) -> None:
    grey = np.arange(256).reshape(16, 16).repeat(8, 1)
    Image.fromarray((grey * scale).astype(kind)).save(tmp_path / "deep.tif")
    with pytest.raises(InputError, match="32 bits a channel"):
        read_picture(str(tmp_path / "deep.tif"))


def test_an_empty_picture_in_a_folder_is_judged_as_unreadable(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.txt").touch()
    inputs, skipped = expand([tmp_path])
    assert [Path(item.path).name for item in inputs] == ["empty.jpg"]
    assert len(skipped) == 1
    assert "notes.txt" in skipped[0]


def names(paths: list[str]) -> list[str]:
    return [item.path for item in expand(paths)[0]]


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.mp4", "sub/a.mp4", "sub/b c.mp4", "sub/deep/é.mp4", 'sub/"q".mp4'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n", "\0"])
def test_lists_as_editors_and_shells_write_them(videos: Path, encoding: str, end: str) -> None:
    lines = ["aa.mp4", '"sub/b c.mp4"', "'sub/deep/é.mp4'", 'sub/"q".mp4', "  sub/a.mp4 ", "sub\\b c.mp4", "gone.mp4"]
    (videos / "aa.mp4").write_bytes(b"aa")
    (videos / "list.txt").write_bytes(end.join([*lines, ""]).encode(encoding))
    assert names(["@list.txt"]) == ["aa.mp4", "sub/b c.mp4", "sub/deep/é.mp4", 'sub/"q".mp4', "sub/a.mp4", "gone.mp4"]


def test_names_of_a_list_that_are_no_utf8_are_kept(videos: Path) -> None:
    (videos / "list.txt").write_bytes(b"caf\xe9.mp4\n")
    assert os.fsencode(names(["@list.txt"])[0]) == b"caf\xe9.mp4"


def test_lists_that_cannot_be_read(videos: Path) -> None:
    (videos / "odd.txt").write_bytes(b"\xff\xfea\0b")
    with open(videos / "large.txt", "wb") as file:
        file.truncate(2**27)
    for name, message in (("odd.txt", "not UTF-16 text"), ("large.txt", "larger than 64 MiB"), ("no.txt", "No such")):
        with pytest.raises(InputError, match=message):
            expand([f"@{name}"])


def test_one_file_under_several_names_is_one_input(videos: Path) -> None:
    (videos / "link.mp4").symlink_to("a.mp4")
    os.link(videos / "a.mp4", videos / "hard.mp4")
    (videos / "way").symlink_to("sub")
    given = ["a.mp4", "./a.mp4", "sub/../a.mp4", str(videos / "a.mp4"), "link.mp4", "hard.mp4", "a.mp4"]
    inputs, skipped = expand(given)
    assert [item.path for item in inputs] == ["a.mp4"]
    assert len(skipped) == 6
    assert "link.mp4: the same file as a.mp4" in skipped
    assert "a.mp4: given twice" in skipped
    assert names(["way", "sub"]) == ['way/"q".mp4', "way/a.mp4", "way/b c.mp4"]
    assert names(["sub/gone.mp4", "./sub/gone.mp4"]) == ["sub/gone.mp4", "./sub/gone.mp4"]


def test_links_in_circles_are_walked_once(videos: Path) -> None:
    for name in ("loop", "a-loop", "sub/up", "sub/deep/top"):
        (videos / name).symlink_to(videos)  # two of them would keep glob busy for ever
    (videos / "away").symlink_to("sub/deep")
    (videos / ".hidden").mkdir()
    (videos / ".hidden" / "h.mp4").write_bytes(b"h")
    every = ["a.mp4", 'sub/"q".mp4', "sub/a.mp4", "sub/b c.mp4", "sub/deep/é.mp4"]
    assert names(["**/*.mp4"]) == every
    assert names([f"{videos}/**/*.mp4"]) == [f"{videos}/{name}" for name in every]
    assert names(["**"]) == every
    assert names(["**/sub/**/é.mp4"]) == ["sub/deep/é.mp4"]
    assert names(["s*/**/b*.mp4", "s*/*.mp4"]) == ["sub/b c.mp4", 'sub/"q".mp4', "sub/a.mp4"]
    assert expand(["**/*.mkv"]) == ([], ["**/*.mkv: matches no file"])
