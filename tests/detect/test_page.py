"""The page: well-formed, self-contained, and deaf to what file names say."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Collection
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote

import cv2
import numpy as np
import pytest

from mrigan.cli import main
from mrigan.config.model_card import Limits
from mrigan.detect import Judge, Judged, Options
from mrigan.detect.command import run
from mrigan.detect.inputs import Input, expand
from mrigan.detect.options import Case, Outputs
from mrigan.detect.overlay import data_uri
from mrigan.detect.page import faces_shown, render
from mrigan.detect.sinks.pages import MAX_FILES_INLINE, Pages
from mrigan.detect.titles import titles
from mrigan.detect.verdict import Verdict

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


def checked(text: str, pages: Collection[str] = ()) -> Page:
    """The page, when it is well-formed, self-contained and allows nothing but itself.

    Args:
        pages: names that it may link to.
    """
    page = Page(text)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in page.elements:
        assert tag not in ("link", "iframe", "object", "base", "form")
        assert "style" not in attrs  # the policy would block it
        for name, value in attrs.items():
            assert not name.startswith("on")
            if name == "src":
                assert (value or "").startswith("data:image/jpeg;base64,")
            if name == "href":
                assert value in pages or ((value or "")[:1] == "#" and (value or "")[1:] in ids)
    [style] = re.findall(r"<style>(.*?)</style>", text, re.S)
    assert not re.search(r"url\(|@import|//", style)
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    [policy] = [a["content"] or "" for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(scripts) == len(page.all("script")) == text.count("<script")
    for source in (style, *scripts):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert ("script-src" in policy) == bool(scripts)
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
    links = [a["href"] for a in page.all("a")]
    assert links == ["#main", "#file-1", "#file-2", "#file-3", "#file-4", *["#main"] * 4]
    assert len(page.all("script")) == 1
    assert "<script>alert(1)<img src=http:x onerror=alert(2)>\"'&\\n{{7*7}}.mp4" in page.text
    assert "&\\n49" not in page.text
    assert "caf�.png" in page.text
    assert "2 fake, 0 real, 2 undecided" in page.text
    words = " ".join(page.text.split())
    assert "75 % of the fakes found; 50 % of the reals called fake; of how many, the model does not say" in words
    assert "Warning: no limit known: this model cannot recognize faces that differ from its training faces" in words
    assert "The model learned from data that it does not name." in words
    pictures = page.all("img")
    # Each face beside its MRI; of three people the frame, the close-up, and the latter with the MRI; strips of two.
    assert len(pictures) == 2 * (4 + 1) + 3 * 3 + 2 * 5
    mri = next(attrs for attrs in pictures if attrs["alt"] == "its MRI")
    data = base64.b64decode((mri["src"] or "").partition(",")[2])
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (192, 192, 3)


def test_one_video_with_two_people(judged: list[Judged]) -> None:
    two = next(one for one in judged if "alert" in one.verdict.path)
    page = checked(render([two], ["notes.txt: no video"]))
    assert page.text.count("notes.txt: no video") == 1
    dots = page.all("circle")
    assert len(dots) == len(two.verdict.faces) == 10
    heights = sorted(float((dot["cy"] or "").rstrip("%")) for dot in dots)
    assert heights == pytest.approx(sorted(100 * (1 - f.prob) for f in two.verdict.faces), abs=0.01)
    assert {dot["class"] for dot in dots} == {"above"}
    assert "Person 1" in page.text
    assert "Person 2" in page.text
    assert "10 of 10 faces (100 %) scored above 0.70" in page.text
    assert "they had no part in the verdict" in page.text
    assert "searched on 8 val videos" in page.text
    assert "proof" in page.text
    assert page.all("script") == []
    assert hashlib.sha256(Path(two.verdict.path).read_bytes()).hexdigest() in page.text
    model = two.verdict.model
    assert set(model["files"]) == {"detector.safetensors", "generator.safetensors"}
    assert all(digest in page.text for digest in model["files"].values())
    listed = [f"{f.time:.1f}".removesuffix(".0") + f" s, frame {f.frame}: " for f in two.verdict.faces]
    assert all(" ".join(page.text.split()).count(" ".join(line.split())) == 2 for line in listed)  # two people


def test_a_file_that_has_changed_since_is_not_hashed(judged: list[Judged], tmp_path: Path) -> None:
    two = next(one for one in judged if "alert" in one.verdict.path)
    path = tmp_path / "v.mp4"
    path.write_bytes(b"another file")
    page = checked(render([replace(two, verdict=replace(two.verdict, path=str(path)))]))
    assert "the file has changed, or gone, since it was judged" in page.text
    assert hashlib.sha256(b"another file").hexdigest() not in page.text


def test_the_case_and_the_command(
    judged: list[Judged], models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = next(one for one in judged if "alert" in one.verdict.path)
    page = checked(render([two], case=Case(HOSTILE, "A. Bee", "2026-11-30 by mail", "mrigan detect 'a b.mp4'")))
    text = " ".join(page.text.split())
    assert text.count(HOSTILE.replace("\n", "\\n")) >= 1
    assert "ExaminerA. Bee Received2026-11-30 by mail" in text
    assert "Commandmrigan detect 'a b.mp4'" in text
    assert "Examiner" not in checked(render([two])).text
    real = Judge(models["real"], Options()).each([Input(two.verdict.path, False)], examples=3)
    page = checked(render(list(real)))
    assert "most suspicious" not in page.text
    assert "not calibrated" in page.text
    title = re.findall("<title>(.*?)</title>", render([two], case=Case()))[0]
    assert str(Path(two.verdict.path).parent) not in title
    video = tmp_path / "v.mp4"
    shutil.copy(two.verdict.path, video)
    out = tmp_path / "v.html"
    words = ["detect", str(video), "--model", str(models["real"]), "--html", str(out), "--case", "K 7", "--every", "40"]
    monkeypatch.setattr(sys, "argv", ["mrigan", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    page = checked(out.read_text())
    assert f"mrigan {shlex.join(words)}" in page.text
    assert "K 7" in page.text


def test_files_are_called_by_their_names() -> None:
    assert titles(["/cases/7/a.mp4"]) == ["a.mp4"]
    assert titles(["x/a.mp4", "y/b.mp4", "x/1/a.mp4", "y/1/a.mp4"]) == ["x/a.mp4", "b.mp4", "x/1/a.mp4", "y/1/a.mp4"]
    assert titles(["a.mp4", "./a.mp4", "s/a.mp4"]) == ["a.mp4", "a.mp4", "s/a.mp4"]


@pytest.mark.parametrize(
    ("reason", "limit", "said"),
    [("too_small", {"min_side": 900.0}, ["at least 900", "100 %", "smaller than those"]),
     ("too_blurred", {"min_sharpness": 1e6}, ["at least 1000000.0", "more blurred"]),
     ("too_few_faces", {"min_faces": 40}, ["at least 40", "Only 10 faces were found"])])  # fmt: skip
def test_why_it_is_undecided(
    judged: list[Judged], models: dict[str, Path], reason: str, limit: dict[str, float], said: list[str]
) -> None:
    judge = Judge(models["fake"], Options())
    judge.criteria = replace(judge.criteria, limits=Limits(share=0.5, **limit))  # type: ignore[arg-type]
    path = next(one.verdict.path for one in judged if "alert" in one.verdict.path)
    [one] = judge.each([Input(path, False)])
    assert one.verdict.reason == reason
    page = checked(render([one]))
    text = " ".join(page.text.split())
    assert "Why it is undecided" in text
    assert text.count("no verdict because of this") == 1
    assert all(words in text for words in said)
    median = np.median([f.box[2] - f.box[0] for f in one.verdict.faces])
    assert one.verdict.measured["side"].median == pytest.approx(median, abs=0.2)
    assert f"{one.verdict.measured['side'].median:.0f}" in text


def test_the_probability_where_fakes_are_rarer(judged: list[Judged]) -> None:
    two = next(one for one in judged if "alert" in one.verdict.path)
    verdict = replace(two.verdict, calibration="platt", probability=0.9)
    text = " ".join(checked(render([replace(two, verdict=verdict)])).text.split())
    # Bayes: odds of 9 to 1, times 1 to 9 and 1 to 99.
    assert "Where one file in ten is: 0.50. Where one in a hundred is: 0.08." in text


def earlier(verdict: Verdict) -> Judged:
    """As it comes from a journal."""
    return Judged(Verdict.from_json(json.loads(json.dumps(verdict.to_json()))), False, earlier=True)


def test_verdicts_of_an_earlier_run_have_no_pictures(judged: list[Judged]) -> None:
    two = next(one for one in judged if "alert" in one.verdict.path)
    page = checked(render([earlier(two.verdict)]))
    assert page.all("img") == []
    assert "of an earlier run" in page.text
    assert len(page.all("circle")) == 10


def test_many_files_get_a_page_each(judged: list[Judged], tmp_path: Path) -> None:
    two = next(one for one in judged if "alert" in one.verdict.path)
    count = MAX_FILES_INLINE + 1
    verdicts = [replace(two.verdict, path=f"{i}/{HOSTILE}.mp4") for i in range(count)]
    out = tmp_path / "a #1%20?<b>.html"
    inputs = [Input(verdict.path, False) for verdict in verdicts]
    pages = Pages(inputs, out, Outputs())
    pages.open()
    for i, verdict in reversed(list(enumerate(verdicts))):
        pages.add(i + 1, inputs[i], replace(two, verdict=verdict))
    pages.finish({}, ["left.txt: left out"])
    folder = tmp_path / "a #1%20?<b>-files"
    names = {f"{quote(folder.name)}/{name}" for name in os.listdir(folder)}
    assert len(names) == count
    index = checked(out.read_text(), names)
    links = [a["href"] or "" for a in index.all("a")][1:]
    assert len(set(links)) == count
    assert index.all("img") == []
    assert f"Verdicts on {count} files" in index.text
    third = (tmp_path / unquote(links[2])).read_text()
    page = checked(third, [f"../{quote(out.name)}"])
    assert "2/<script>alert(1)" in page.text
    assert len(page.all("img")) > 10
    # Gone on from a journal: the pages that are there stay, with their pictures; others are made without.
    os.unlink(tmp_path / unquote(links[3]))
    again = Pages(inputs, out, Outputs())
    again.open()
    for i, verdict in enumerate(verdicts):
        again.add(i + 1, inputs[i], earlier(verdict))
    again.finish({}, [])
    assert (tmp_path / unquote(links[2])).read_text() == third
    assert "of an earlier run" in (tmp_path / unquote(links[3])).read_text()


def test_which_picture_decided(clips: Path, models: dict[str, Path]) -> None:
    def page_of(name: str) -> Page:
        inputs, _ = expand([clips / "face.png"])
        return checked(render(list(Judge(models[name], Options()).each(inputs, examples=2))))

    assert "The detector looked at the MRIs" in page_of("mri").text
    plain = page_of("plain")
    assert "no MRIs to show" in plain.text
    assert len(plain.all("img")) == 2 + 1  # the frame and the close-up without a heat map, and the face


def test_the_page_says_what_a_map_model_does_and_whose_rule_decided(judged: list[Judged]) -> None:
    two = next(one for one in judged if "alert" in one.verdict.path)

    def text_of(name: str, real_below: float | None = None, **model: object) -> str:
        rule = replace(two.verdict.rule, name=name, threshold=0.9, real_below=real_below)
        verdict = replace(two.verdict, rule=rule, model=two.verdict.model | model)
        return " ".join(checked(render([replace(two, verdict=verdict)])).text.split())

    drawn = text_of("fraction", map=True)
    assert "as the detector guesses it" in drawn
    assert "no part in the verdict" not in drawn
    assert "as a generator guesses it" in text_of("fraction")
    own = text_of("mean", 0.6, own_rule="mean")
    assert "It is the model's own: “mean”" in own
    assert "From 0.60 up to that threshold it is undecided. Without" in own
    assert "asked for" not in own
    asked = text_of("mean", own_rule="fraction")
    assert "It was asked for by name: “mean”" in asked
    assert "another: at least 30 % of the faces" in asked
    assert "up to that threshold" not in asked


def test_by_the_command_and_gone_on_from_a_journal(
    clips: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mrigan.detect.sinks.pages.MAX_FILES_INLINE", 2)
    os.mkfifo(tmp_path / "pipe.mp4")
    paths = [str(clips / name) for name in ("one.mp4", "noface.mp4", "face.png")] + [str(tmp_path / "pipe.mp4")]
    out, journal = tmp_path / "out" / "index.html", tmp_path / "v.jsonl"

    def pages() -> dict[str, str]:
        assert run(paths, str(models["fake"]), Options(), Outputs(jsonl=journal, html=out), workers=1) == 3
        folder = tmp_path / "out" / "index-files"
        index = checked(out.read_text(), [f"index-files/{name}" for name in os.listdir(folder)])
        names = [unquote(a["href"] or "") for a in index.all("a")][1:]
        assert len(names) == len(set(names)) == len(paths)
        return {path: (tmp_path / "out" / name).read_text() for path, name in zip(paths, names, strict=True)}

    first = pages()
    for path, text in first.items():  # in the order given
        assert os.path.basename(path) in checked(text, ["../index.html"]).text
    assert len(Page(first[paths[0]]).all("img")) > 10
    assert "it is not a regular file" in first[paths[3]]
    assert pages() == first  # pictures and all, though the verdicts now come from the journal


def test_pages_of_many_files_show_fewer_faces() -> None:
    assert faces_shown(1) == faces_shown(10) == 12
    assert faces_shown(11) == 4


def test_pictures_survive_the_page() -> None:
    picture = np.zeros((192, 192, 3), np.uint8)
    picture[..., 0] = 200  # red stays red
    data = base64.b64decode(data_uri(picture, 192).partition(",")[2])
    back = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(back.astype(int) - picture).max() <= 3
