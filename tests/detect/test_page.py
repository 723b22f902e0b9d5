"""The page: well-formed, self-contained, and deaf to what file names say."""

from __future__ import annotations

import base64
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from mrigan.detect import Judge, Judged, Options
from mrigan.detect.inputs import expand
from mrigan.detect.page import data_uri, faces_shown, render
from mrigan.detect.timeline import clock, timeline

VOID = {"meta", "img", "br", "hr", "input", "link"}
HOSTILE = "<script>alert(1)<img src=http:x onerror=alert(2)>\"'&\n{{7*7}}"


class Page(HTMLParser):
    """Every element with its attributes; raises where one is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def checked(text: str) -> Page:
    page = Page(text)
    ids = {attrs.get("id") for _, attrs in page.elements}
    for tag, attrs in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "base")
        for name, value in attrs.items():
            assert not name.startswith("on")
            if name == "src":
                assert (value or "").startswith("data:image/jpeg;base64,")
            if name == "href":
                assert (value or "")[:1] == "#"
                assert (value or "")[1:] in ids
    style = text[text.index("<style>") : text.index("</style>")]
    assert not re.search(r"url\(|@import|//", style)
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    return page


@pytest.fixture(scope="module")
def judged(clips: Path, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Judged]:
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copy(clips / "two.mp4", folder / f"{HOSTILE}.mp4")
    shutil.copy(clips / "face.png", os.path.join(os.fsencode(folder), b"caf\xe9.png"))
    (folder / "zero.mp4").write_bytes(b"")
    shutil.copy(clips / "noface.mp4", folder / "noface.mp4")
    return list(Judge(models["fake"], Options()).each(expand([folder])[0], examples=4))


def test_several_files(judged: list[Judged]) -> None:
    page = checked(render(judged, [f"{HOSTILE}.txt: left"]))
    assert len(page.all("section")) == 4 + 1  # and how to read it
    assert [a["href"] for a in page.all("a")] == ["#file-1", "#file-2", "#file-3", "#file-4"]
    assert "<script>alert(1)<img src=http:x onerror=alert(2)>\"'&\\n{{7*7}}.mp4" in page.text
    assert "&\\n49" not in page.text
    assert "caf�.png" in page.text
    assert "2 fake, 0 real, 2 undecided" in page.text
    assert "it finds 75 % of the fakes and calls 50 % of the reals fake" in " ".join(page.text.split())
    pictures = page.all("img")
    assert len(pictures) == 2 * (4 + 1)  # each face beside its MRI
    data = base64.b64decode((pictures[0]["src"] or "").partition(",")[2])
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (192, 192, 3)


def test_one_video_with_two_people(judged: list[Judged]) -> None:
    two = next(one for one in judged if "alert" in one.verdict["path"])
    page = checked(render([two], ["notes.txt: no video"]))
    assert page.text.count("notes.txt: no video") == 1
    dots = page.all("circle")
    assert len(dots) == len(two.verdict["faces"]) == 10
    heights = sorted(float((dot["cy"] or "").rstrip("%")) for dot in dots)
    assert heights == pytest.approx(sorted(100 * (1 - f["prob"]) for f in two.verdict["faces"]), abs=0.01)
    assert {dot["class"] for dot in dots} == {"above"}
    assert "Person 1" in page.text
    assert "Person 2" in page.text
    assert "10 of 10 faces (100 %) scored above 0.70" in page.text
    assert "they had no part in the verdict" in page.text
    assert "searched on 8 val videos" in page.text
    assert "proof" in page.text


def test_which_picture_decided(clips: Path, models: dict[str, Path]) -> None:
    def page_of(name: str) -> Page:
        inputs, _ = expand([clips / "face.png"])
        return checked(render(list(Judge(models[name], Options()).each(inputs, examples=2))))

    assert "The detector looked at the MRIs" in page_of("mri").text
    plain = page_of("plain")
    assert "no MRIs to show" in plain.text
    assert len(plain.all("img")) == 1


def test_pages_of_many_files_show_fewer_faces() -> None:
    assert faces_shown(1) == faces_shown(10) == 12
    assert faces_shown(11) == 4


def test_pictures_survive_the_page() -> None:
    picture = np.zeros((192, 192, 3), np.uint8)
    picture[..., 0] = 200  # red stays red
    data = base64.b64decode(data_uri(picture).partition(",")[2])
    back = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(back.astype(int) - picture).max() <= 3


def test_the_timeline_s_geometry() -> None:
    def video(times: list[float], probs: list[float], persons: int = 1) -> dict:
        seen = enumerate(zip(times, probs, strict=True))
        faces = [{"time": t, "prob": p, "frame": i, "person": i % persons} for i, (t, p) in seen]
        people = [{"person": n, "faces": sum(f["person"] == n for f in faces)} for n in range(persons)]
        return {"faces": faces, "persons": people, "thresholds": {"frame": 0.8}}

    drawn = timeline(video([0, 1, 2, 30, 31, 40], [0.0, 0.5, 1.0, 0.9, 0.8, 0.1]))
    assert drawn is not None
    [row] = drawn.rows
    assert drawn.threshold == 20
    assert [(d.x, d.y, d.above) for d in row.dots[:3]] == [(1.5, 100, False), (3.92, 50, False), (6.35, 0, True)]
    assert row.dots[-1].x == 98.5
    assert [d.above for d in row.dots] == [False, False, True, True, False, False]
    assert [(a.x, b.x) for a, b in row.lines] == [(1.5, 3.92), (3.92, 6.35), (row.dots[3].x, row.dots[4].x)]
    assert [text for _, text in drawn.ticks] == ["0", "10", "20", "30", "40"]
    assert timeline(video([0], [0.5])) is None
    assert timeline(video([], [])) is None
    crowd = timeline(video([i / 2 for i in range(40)], [0.5] * 40, persons=9))
    assert crowd is not None
    assert (len(crowd.rows), crowd.hidden) == (6, 3)
    assert [clock(*t) for t in ((7.26, 30), (7.0, 30), (67.4, 100), (3667, 4000))] == ["7.3", "7", "1:07", "1:01:07"]
