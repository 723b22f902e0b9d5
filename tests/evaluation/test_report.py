"""The report: files whole or not at all, made again the same, a page that is well formed whatever clips are called."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mrigan.errors import ConfigError, InputError
from mrigan.evaluation import check_scores, evaluate, evaluate_files, read_scores, search_thresholds, write_scores
from mrigan.evaluation.figures import entries
from mrigan.evaluation.report import FIGURES
from mrigan.evaluation.results import choose_thresholds
from tests.evaluation.tables import random_table, table, video, with_families

VOID = {"meta", "link", "br", "img", "hr", "input", "path", "use", "rect"}


class Page(HTMLParser):
    """Checks that tags close in order, and keeps text and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text, self.tags, self.addresses = "", set(), []
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href", "xlink:href", "action", "data")]
        assert not [key for key, _ in attrs if key.startswith("on")], f"a handler in {tag}"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"{tag} closes {self.open}"

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def scores() -> pa.Table:
    return check_scores(random_table())


@pytest.fixture(scope="module")
def report(scores, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report") / "out"
    evaluate(scores, None, out)
    return out


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_report_is_complete(report, scores):
    pictures = {f"figures/{split}-{name}.png" for split in ("val", "test") for name in FIGURES}
    names = ("table-1", "table-2", "sources", "rules", "data-sets", "cross-auc")
    tables = {f"tables/{split}/{n}.csv" for split in ("val", "test") for n in names}
    assert set(_files(report)) == {"scores.parquet", "metrics.json", "index.html"} | pictures | tables
    for name in pictures:
        with Image.open(report / name) as picture:
            assert picture.width > 700
            assert picture.text == {"Software": "Mrigan"}  # no version, no date: the same scores give the same bytes
            assert len(picture.convert("L").getcolors(256)) > 10  # something is drawn
    assert read_scores(report / "scores.parquet").equals(scores)
    metrics = json.loads((report / "metrics.json").read_text())
    assert [(r["split"], r["model"]) for r in metrics["results"]] == [
        ("test", "face"), ("test", "mri"), ("val", "face"), ("val", "mri")
    ]  # fmt: skip


def test_table_1_has_the_papers_ten_rows_rightly_labelled(report):
    rows = list(csv.reader((report / "tables/test/table-1.csv").open()))
    metrics = json.loads((report / "metrics.json").read_text())
    face = next(r for r in metrics["results"] if (r["split"], r["model"]) == ("test", "face"))["video"]
    tp, fp, tn, fn = (face[name] for name in ("tp", "fp", "tn", "fn"))
    told = {row[0]: float(row[1]) for row in rows[1:]}
    assert rows[0][:4] == ["Metric", "face", "face low", "face high"]
    assert told == pytest.approx({
        "True Positive Rate (TPR)": tp / (tp + fn), "False Negative Rate (FNR)": fn / (tp + fn),
        "False Positive Rate (FPR)": fp / (fp + tn), "True Negative Rate (TNR)": tn / (fp + tn),
        "Accuracy": (tp + tn) / (tp + fp + tn + fn), "Balanced Accuracy": (tp / (tp + fn) + tn / (fp + tn)) / 2,
        "F1-score": 2 * tp / (2 * tp + fp + fn), "Precision": tp / (tp + fp), "Specificity": tn / (fp + tn),
        "Area Under the curve ROC": face["auc"],
    })  # fmt: skip
    for row in rows[1:]:
        if row[2]:
            assert float(row[2]) <= float(row[1]) <= float(row[3])


def test_thresholds_are_searched_on_the_validation_rows(report, scores):
    metrics = json.loads((report / "metrics.json").read_text())
    for result in metrics["results"]:
        wanted = [row["split"] == "val" and row["model"] == result["model"] for row in scores.to_pylist()]
        assert result["thresholds"] == search_thresholds(scores.filter(pa.array(wanted)))


def test_the_page_holds_together_and_needs_nothing_else(report):
    html = (report / "index.html").read_text()
    page = Page(html)
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"@import|url\((?!#)", html)
    assert not page.tags & {"script", "iframe", "link", "object"}
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(svg)
    assert html.count("<svg") == 2 * len(FIGURES)
    ids = re.findall(r'<g[^>]* id="', html)
    assert not ids
    for text in (
        "face",
        "mri",
        "faceforensics",
        "NeuralTextures",
        "c40",
        "Coverage",
        "searched on",
        "no face found",
        "DeLong",
        "Small numbers:",
    ):
        assert text in page.text


def test_made_again_it_is_the_same_byte_for_byte(report, scores, tmp_path):
    # From a file a model, with the rows in another order.
    backwards = scores.take(list(range(scores.num_rows))[::-1])
    for model in ("mri", "face"):
        mine = backwards.filter(pa.array([m == model for m in backwards["model"].to_pylist()]))
        write_scores(mine, tmp_path / model / "scores.parquet")
        (tmp_path / model / "metrics.json").write_bytes((report / "metrics.json").read_bytes())
    evaluate_files([tmp_path / "mri/scores.parquet", tmp_path / "face/scores.parquet"], tmp_path / "both")
    assert _files(tmp_path / "both") == _files(report)


def test_thresholds_come_from_where_they_should():
    rows = video("a", 0, [0.1, 0.6], split="test") + video("b", 1, [0.9, 0.6], split="test")
    scores = table(rows)
    pick = ("frame", "fraction", "source")

    def chosen(*args, **kwargs):
        return [choose_thresholds(scores, *args, **kwargs)["m"][k] for k in pick]

    assert chosen(None) == [0.5, 0.5, "default: there are no validation scores to search them on"]
    assert chosen({"frame": 0.8, "fraction": 0.3}) == [0.8, 0.3, "given"]
    assert chosen({"m": {"frame": 0.7, "fraction": 0.2, "source": "the model"}}) == [0.7, 0.2, "the model"]
    val = table([(*row[:4], "val", *row[5:]) for row in rows])
    assert chosen(None, validation_scores=val)[2] == "searched on 2 val videos"
    assert chosen({"other": {"frame": 0.7, "fraction": 0.2}})[2].startswith("default")
    with pytest.raises(ConfigError, match=r"frame threshold of m is 1\.5"):
        chosen({"frame": 1.5, "fraction": 0.3})
    with pytest.raises(InputError, match="must not be searched on test"):
        chosen(None, validation_scores=scores)


def test_validation_scores_may_come_apart(tmp_path):
    val = table(video("a", 0, [0.1], split="val") + video("b", 1, [0.9], split="val"))
    got = evaluate(table(video("c", 1, [0.8])), None, tmp_path, validation_scores=val)["results"]
    assert [(r["split"], r["thresholds"]["source"]) for r in got] == [("test", "searched on 2 val videos")]


def test_given_thresholds_go_before_remembered_ones(report, tmp_path):
    one = tmp_path / "one" / "scores.parquet"
    write_scores(table(video("a", 0, [0.1], model="face")), one)
    (tmp_path / "one" / "metrics.json").write_bytes((report / "metrics.json").read_bytes())
    remembered = evaluate_files([one], tmp_path / "two")["results"]
    given = evaluate_files([one], tmp_path / "two", {"frame": 0.9, "fraction": 0.7})["results"]
    assert remembered[0]["thresholds"]["source"].startswith("searched on")
    assert given[0]["thresholds"] == {"frame": 0.9, "fraction": 0.7, "source": "given"}


def test_each_fake_is_measured_against_the_reals_of_its_own_source(tmp_path):
    # Real stills score 0 and live in another data set: over all, the fakes of `hard` look solved; within their source
    # they are a coin toss.
    rows = [r for i in range(20) for r in video(f"s{i}", 0, [0.01], dataset="stills", compression="")]
    for i in range(10):
        rows += video(f"r{i}", 0, [0.5 + 0.01 * i]) + video(f"e{i}", 1, [0.9], method="easy")
        rows += video(f"h{i}", 1, [0.5 + 0.01 * i], method="hard")
    got = evaluate(table(rows), None, tmp_path)["results"][0]
    by_source = {(g["dataset"], g["method"]): g["video"] for g in got["groups"]}
    assert set(by_source) == {("dfdc", "easy"), ("dfdc", "hard"), ("dfdc", "all"), ("stills", "original")}
    assert got["video"]["auc"] > 0.9
    assert (by_source["dfdc", "easy"]["auc"], by_source["dfdc", "hard"]["auc"]) == (1.0, 0.5)
    assert by_source["stills", "original"]["auc"] is None
    assert by_source["stills", "original"]["tnr"] == 1.0
    assert (by_source["dfdc", "hard"]["real"], by_source["dfdc", "hard"]["fake"]) == (10, 10)


def test_models_are_compared_also_where_families_are_named(tmp_path):
    metrics = evaluate(with_families(random_table()), None, tmp_path)
    [row] = [pair for pair in metrics["comparisons"] if pair["split"] == "test"]
    assert 0 <= row["p"] <= 1
    assert row["interval"][0] < row["difference"] < row["interval"][1]


@pytest.mark.parametrize("rows", [
    video("a", 1, [0.9, 0.2]),
    video("a", 0, [0.9, 0.2]),
    video("a", 1, []) + video("b", 0, []),
    video("a", 1, []) + video("b", 0, [0.1]),
], ids=["only fakes", "only reals", "no face at all", "one class has no face"])  # fmt: skip
def test_what_cannot_be_measured_is_null_with_a_reason(rows, tmp_path):
    metrics = evaluate(table(rows), None, tmp_path)
    video_figures = metrics["results"][0]["video"]
    assert video_figures["auc"] is None
    assert video_figures["undefined"]["auc"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    Page((tmp_path / "index.html").read_text())


HOSTILE = ['<script>alert("x")</script>', "a&amp;'b\"</table>", "$x_{$", "{{ 7 * 7 }}", "日\u202e.mp4", "new\nline"]


def test_hostile_names_stay_text(tmp_path):
    rows = []
    for i, name in enumerate(HOSTILE):
        kind = {"dataset": name, "method": name, "compression": name, "model": f"{name}"}
        rows += video(name, 1, [0.1], **kind) + video(f"{name}{i}", 0, [0.9], **kind)
        rows += video(f"{name}-silent", 1, [], **kind)
    evaluate(table(rows), None, tmp_path, left_out={HOSTILE[0]: 1})
    html = (tmp_path / "index.html").read_text()
    page = Page(html)
    assert "script" not in page.tags
    assert all(name.replace("\u202e", r"\u202e") in page.text for name in HOSTILE)
    assert "\u202e" not in html  # it would turn round what stands beside it
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(svg)


def test_a_model_whose_name_begins_with_an_underscore_is_in_the_legends(tmp_path):
    evaluate(table(video("a", 1, [0.9], model="_mine") + video("b", 0, [0.1], model="_mine")), None, tmp_path)
    html = (tmp_path / "index.html").read_text()
    drawn = re.findall(r"<text[^>]*>\s*([^<]*)</text>", html)
    assert any(text.startswith("_mine  ") for text in drawn)  # of the ROC curves, with the AUC behind it


def test_a_legend_shows_what_has_a_name_and_nothing_else():
    axes = Figure().subplots()
    axes.plot([0, 1], [0, 1], label="_mine")
    axes.plot([0, 1], [1, 0])
    axes.stairs([1, 2], [0, 1, 2], fill=True)
    axes.stairs([1, 2], [0, 1, 2], label="real")
    legend = axes.legend(**entries(axes))
    assert [text.get_text() for text in legend.get_texts()] == ["_mine", "real"]


def test_a_hostile_split_stays_inside_the_folder(tmp_path):
    evaluate(table(video("a", 1, [0.9], split="../../x")), None, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    assert (tmp_path / "out/figures/______x-roc.png").is_file()


def test_a_wrong_table_writes_nothing(tmp_path, scores):
    broken = scores.set_column(10, "prob", pa.array([float("nan")] * scores.num_rows))
    with pytest.raises(InputError):
        evaluate(broken, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_inputs_are_never_overwritten(tmp_path, scores):
    out = tmp_path / "out"
    write_scores(scores.slice(0, 5), out / "scores.parquet")
    write_scores(scores.slice(5, 5), tmp_path / "more.parquet")
    before = (out / "scores.parquet").read_bytes()
    with pytest.raises(ConfigError, match="overwrite its own input"):
        evaluate_files([out / "scores.parquet", tmp_path / "more.parquet"], out)
    assert _files(out) == {"scores.parquet": before}


def test_remaking_in_place_leaves_the_scores_alone(tmp_path):
    evaluate(table(video("a", 0, [0.1])), None, tmp_path)
    before = (tmp_path / "scores.parquet").stat()
    evaluate_files([tmp_path / "scores.parquet"], tmp_path)
    assert (tmp_path / "scores.parquet").stat().st_ino == before.st_ino


def test_videos_left_out_are_named_and_remembered(tmp_path):
    scores = table(video("a", 0, [0.1]) + video("b", 1, [0.9]))
    evaluate(scores, None, tmp_path / "one", left_out={"unchanged": 3, "misaligned": 1})
    again = evaluate_files([tmp_path / "one/scores.parquet"], tmp_path / "two")
    assert again["left_out"] == {"unchanged": 3, "misaligned": 1}
    assert "1 misaligned, 3 unchanged" in Page((tmp_path / "two/index.html").read_text()).text


def test_a_damaged_metrics_json_is_named(tmp_path):
    write_scores(table(video("a", 0, [0.1])), tmp_path / "scores.parquet")
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(InputError, match=r"not a metrics\.json"):
        evaluate_files([tmp_path / "scores.parquet"], tmp_path / "out")


def test_a_long_curve_is_drawn_with_few_points(tmp_path):
    rows = [r for i in range(4) for r in video(f"{i}", i % 2, [(k * 7919 % 5003 + 1) / 5005 for k in range(2500)])]
    evaluate(table(rows), None, tmp_path)
    assert len((tmp_path / "index.html").read_bytes()) < 200_000
