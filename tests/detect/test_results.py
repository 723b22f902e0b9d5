"""Where verdicts go: as soon as they are known, to every output that can be written, also when a run is stopped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mrigan.detect import Judged, Options, command, detect_paths
from mrigan.detect.command import INTERRUPTED, NOT_WRITTEN, STOPPED, run
from mrigan.detect.inputs import Input
from mrigan.detect.interrupts import Interrupts
from mrigan.detect.options import Outputs
from mrigan.detect.sinks.terminal import verdict_line
from mrigan.detect.verdict import AppliedThresholds, FaceScore, Gap, RuleScore, Verdict
from mrigan.detect.wording import share
from mrigan.errors import ConfigError, MriganError, OutputError
from mrigan.text import printable
from tests.detect.schema import check
from tests.test_outputs import device

UNNAMED = "; the model learned from data that it does not name"
Judgements = Iterator[tuple[Input, Judged]]


@pytest.fixture
def pair(clips: Path) -> list[str]:
    return [str(clips / "face.png"), str(clips / "noface.mp4")]


def after_the_first(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have `act` called between the first verdict of a run and the second."""
    judge = command._by_workers

    def by_workers(*arguments: Any) -> Judgements:
        for number, one in enumerate(judge(*arguments)):
            if number == 1:
                act()
            yield one

    monkeypatch.setattr(command, "_by_workers", by_workers)


def test_a_verdict_is_printed_when_it_is_known(
    pair: list[str], models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    early: list[str] = []
    after_the_first(monkeypatch, lambda: early.append(capsys.readouterr().out))
    assert run(pair, str(models["fake"]), Options()) == 0
    one = f"fake       {pair[0]}: 1 of 1 faces above .7 (100 %; fake from 30 % on), mean score .95 (not calibrated)"
    assert early == [f"{one}{UNNAMED}\n"]
    assert capsys.readouterr().out == f"undecided  {pair[1]}: no face found{UNNAMED}\n"


def test_a_verdict_in_one_line() -> None:
    faces = [FaceScore(0, 0.0, 0, (0, 0, 9, 9), p) for p in (0.51, 0.6, 0.9, 0.5, 0.1, 0.1, 0.1)]
    verdict = Verdict("a.mp4", None, "fake", None, probability=0.444, fraction=3 / 7, faces=tuple(faces),
                      thresholds=AppliedThresholds(0.5, 0.4, 3))  # fmt: skip
    line = "fake       a.mp4: 3 of 7 faces above .5 (43 %; fake from 40 % on), "
    assert verdict_line(verdict) == f"{line}mean score .44 (not calibrated){UNNAMED}"
    assert verdict_line(replace(verdict, calibration="platt")) == f"{line}probability .44 (calibrated){UNNAMED}"
    mean = replace(verdict, rule=RuleScore("mean", 0.999, 0.3))
    assert ": mean .30 (fake from >.99 on); 3 of 7 faces above .5, mean" in verdict_line(mean)
    gaps = (Gap("file", "No such file."),)
    unreadable = replace(verdict, verdict="undecided", reason="unreadable", gaps=gaps)
    assert verdict_line(unreadable) == f"undecided  a.mp4: No such file{UNNAMED}"


def test_a_share_next_to_its_threshold_is_told_apart() -> None:
    assert share(0.399, 0.4) == ("39.9 %", "40.0 %")
    assert share(0.4, 0.4) == ("40 %", "40 %")
    assert share(2 / 3, 0.6666) == ("66.67 %", "66.66 %")
    assert share(0, 0.001) == ("0.0 %", "0.1 %")
    assert share(0.996, 0.4) == (">99 %", "40 %")


@pytest.mark.parametrize("journal", [True, False])
def test_stopped_it_says_how_far_it_is(  # noqa: PLR0917 (fixtures)
    pair: list[str],
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    journal: bool,
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    after_the_first(monkeypatch, interrupt)
    out, page, lines = tmp_path / "v.json", tmp_path / "v.html", tmp_path / "v.jsonl"
    code = run(
        pair, str(models["fake"]), Options(), Outputs(json=str(out), html=page, jsonl=lines if journal else None)
    )
    told = capsys.readouterr().err
    [verdict] = json.loads(out.read_text())
    assert verdict["path"] == pair[0]
    assert "1 more file: the run was stopped before" in page.read_text()
    if journal:
        assert code == STOPPED
        assert f"stopped; 1 of 2 done, in {out}, {lines}, {page}; the same command continues" in told
        assert json.loads(lines.read_text()) == verdict
    else:
        assert code == INTERRUPTED
        assert f"stopped; 1 of 2 done, in {out}, {page}; the same command starts from the beginning" in told
        assert "--jsonl" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_a_verdict_is_handed_on(number: signal.Signals) -> None:
    done: list[str] = []

    def hand_on(interrupts: Interrupts, times: int) -> None:
        with interrupts.held():
            for _ in range(times):
                os.kill(os.getpid(), number)
            done.append("handed on")

    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            hand_on(interrupts, 1)
        assert done == ["handed on"]
        with pytest.raises(KeyboardInterrupt):
            hand_on(interrupts, 2)  # a second one does not wait: an output may be blocked
        assert done == ["handed on"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_before_the_first_verdict_an_older_file_stays(
    pair: list[str], models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> Judgements:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(command, "_by_workers", none)
    (tmp_path / "v.json").write_text("[]\n")
    assert run(pair, str(models["fake"]), Options(), Outputs(json=str(tmp_path / "v.json"))) == INTERRUPTED
    assert (tmp_path / "v.json").read_text() == "[]\n"


def test_a_hostile_name(
    clips: Path, models: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = "[x][bold]b:smile:\x1b[31m\u202egnp\nerror: forged <b>&.png"
    shutil.copy(clips / "face.png", tmp_path / name)
    page, verdicts = tmp_path / "v.html", tmp_path / "v.json"
    assert run([str(tmp_path / name)], str(models["fake"]), Options(), Outputs(html=page, json=str(verdicts))) == 0
    out, err = capfd.readouterr()
    assert r"[x][bold]b:smile:\x1b[31m\u202egnp\nerror: forged <b>&.png" in out
    for text in (out, err, page.read_text()):
        assert printable(text, keep="\n") == text
        assert "\nerror: forged" not in text
    assert r"\x1b[31m\u202egnp\nerror: forged &lt;b&gt;&amp;.png" in page.read_text()
    assert json.loads(verdicts.read_text())[0]["path"] == str(tmp_path / name)


def test_a_foreign_file_is_replaced_by_force_alone(clips: Path, models: dict[str, Path], tmp_path: Path) -> None:
    judge = [str(clips / "face.png")], str(models["fake"]), Options()
    outs = {name: tmp_path / f"notes.{name}" for name in ("json", "html", "jsonl")}
    for name, out in outs.items():
        given: dict[str, Any] = {name: str(out) if name == "json" else out}
        out.write_bytes(b'{"important": 1}')
        with pytest.raises(MriganError, match="--force"):
            run(*judge, Outputs(**given))
        assert out.read_bytes() == b'{"important": 1}'
    every: dict[str, Any] = {**outs, "json": str(outs["json"])}
    for force in (True, False):  # then they are Mrigan's
        assert run(*judge, Outputs(**every, force=force)) == 0
    (line,) = outs["jsonl"].read_text().splitlines()
    assert json.loads(line) == json.loads(outs["json"].read_text())[0]


def test_an_output_that_fails_takes_no_verdict_from_the_others(
    pair: list[str], models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full, null = device(tmp_path / "full", 7), device(tmp_path / "null", 3)
    out, page = tmp_path / "v.json", tmp_path / "v.html"
    whole = detect_paths(pair, models["fake"], Options())
    assert run(pair, str(models["fake"]), Options(), Outputs(json=str(out), jsonl=full, html=page)) == NOT_WRITTEN
    told = capsys.readouterr()
    assert json.loads(out.read_text())[0]["faces"] == whole[0].to_json()["faces"]
    assert len(told.out.splitlines()) == 2
    assert f"not written: {full}: cannot be written: No space left on device" in told.err
    out.unlink()
    assert run(pair, str(models["fake"]), Options(), Outputs(json=str(full), html=page, jsonl=null)) == NOT_WRITTEN
    assert "face.png" in page.read_text()
    assert stat.S_ISCHR(full.stat().st_mode)
    assert stat.S_ISCHR(null.stat().st_mode)


def test_a_pipe_and_a_link(pair: list[str], models: dict[str, Path], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "real").mkdir()
    (tmp_path / "link.html").symlink_to("real/page.html")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    arguments = {"json": str(tmp_path / "pipe"), "html": tmp_path / "link.html"}
    assert run(pair, str(models["fake"]), Options(), Outputs(**arguments)) == 0  # type: ignore[arg-type]
    reader.join()
    verdicts = json.loads(read[0])
    check(verdicts)
    assert [v["path"] for v in verdicts] == pair
    assert verdicts[0]["input"]["sha256"] == hashlib.sha256(Path(pair[0]).read_bytes()).hexdigest()
    assert (tmp_path / "link.html").is_symlink()
    assert "<title>" in (tmp_path / "real" / "page.html").read_text()


@pytest.mark.parametrize("closed", ["full", "no reader"])
def test_nobody_reads_standard_output(pair: list[str], models: dict[str, Path], tmp_path: Path, closed: str) -> None:
    words = [sys.executable, "-m", "mrigan.cli", "detect", *pair, "--model", str(models["fake"]), "--workers", "1"]
    if closed == "full":
        out = os.open("/dev/full", os.O_WRONLY)
    else:
        read, out = os.pipe()
        os.close(read)
    process = subprocess.Popen([*words, "--json", tmp_path / "v.json"], stdout=out, stderr=subprocess.PIPE, text=True)
    os.close(out)
    _, told = process.communicate()
    assert process.returncode == NOT_WRITTEN, told
    assert "Traceback" not in told
    assert "standard output: cannot be written: " in told
    assert len(json.loads((tmp_path / "v.json").read_text())) == 2


def test_outputs_are_tried_before_a_model_is_looked_for(pair: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nobody = "no such model"
    for wrong in (tmp_path, tmp_path / "file" / "below"):
        for option in ("html", "jsonl", "annotate"):
            if (wrong, option) != (tmp_path, "annotate"):  # a folder is right for copies
                with pytest.raises(OutputError):
                    run(pair, nobody, Options(), Outputs(**{option: wrong}))  # type: ignore[arg-type]
        with pytest.raises(OutputError):
            run(pair, nobody, Options(), Outputs(json=str(wrong)))
    with pytest.raises(ConfigError, match="two outputs"):
        run(pair, nobody, Options(), Outputs(json=str(tmp_path / "v"), html=tmp_path / "." / "v"))
    (tmp_path / "list").write_text(pair[0])
    with pytest.raises(ConfigError, match="overwrite an input"):
        run([f"@{tmp_path}/list"], nobody, Options(), Outputs(json=str(tmp_path / "list")))
    assert sorted(os.listdir(tmp_path)) == ["file", "list"]
