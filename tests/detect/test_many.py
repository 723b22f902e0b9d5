"""Many inputs: patterns and lists, worker processes, and a journal that a stopped run goes on from."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mrigan.detect import Judge, Judged, Options, detect_paths, worker_pool
from mrigan.detect.command import run
from mrigan.detect.inputs import Input, expand
from mrigan.detect.options import Outputs
from mrigan.detect.sinks.json_lines import JsonLines
from mrigan.detect.verdict import Verdict
from mrigan.errors import ConfigError, InputError
from tests.detect.schema import check


@pytest.fixture(scope="module")
def folder(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six inputs: five videos, one of which is no video, and a picture."""
    folder = tmp_path_factory.mktemp("many")
    for name in ("one.mp4", "two.mp4", "noface.mp4", "short.mp4", "face.png"):
        shutil.copy(clips / name, folder / name)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def test_patterns_and_lists(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.mp4").touch()
    (tmp_path / "list.txt").write_bytes(b"one.mp4\n\n  two.mp4  \r\none.mp4\n")
    inputs, skipped = expand(["*.mp4"])
    assert [item.path for item in inputs] == ["broken.mp4", "noface.mp4", "one.mp4", "short.mp4", "two.mp4"]
    inputs, skipped = expand([f"{tmp_path}/**/*.mp4", f"@{tmp_path}/list.txt", "nothing*.mp4"])
    assert [item.path for item in inputs] == [str(tmp_path / "deep/x.mp4"), "one.mp4", "two.mp4"]
    assert skipped == ["one.mp4: given twice", "nothing*.mp4: matches no file"]
    (tmp_path / "[1].mp4").touch()
    assert [item.path for item in expand([str(tmp_path / "[1].mp4")])[0]] == [str(tmp_path / "[1].mp4")]  # a name, too
    with pytest.raises(InputError, match="the list cannot be read"):
        expand(["@missing.txt"])


def test_workers_give_the_same_verdicts(folder: Path, models: dict[str, Path]) -> None:
    inputs, _ = expand([folder])
    alone = {judged.verdict.path: judged for judged in Judge(models["fake"], Options()).each(inputs, 2)}
    together = dict(worker_pool.JudgePool(Judge(models["fake"], Options()), 2).each(inputs, 2))
    assert {item.path for item in together} == alone.keys()
    for item, judged in together.items():
        check([judged.verdict.to_json()])
        assert judged.verdict == alone[item.path].verdict
        assert [e.frame for e in judged.examples] == [e.frame for e in alone[item.path].examples]


WORKER = worker_pool._worker


def dying(*setup: Any) -> Callable[..., Any]:
    """A worker that two.mp4 kills, as a decoder's segmentation fault does."""
    work = WORKER(*setup)

    def judge(task: tuple[Input, int], report: Callable[[Any], None]) -> Any:
        if task[0].path.endswith("two.mp4"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return work(task, report)

    return judge


def test_a_file_that_kills_its_worker_kills_no_other(
    folder: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "_worker", dying)
    by_pool = worker_pool.JudgePool(Judge(models["fake"], Options()), 2).each(expand([folder])[0])
    verdicts = {item.path: one.verdict.to_json() for item, one in by_pool}
    assert len(verdicts) == 6
    dead = verdicts[str(folder / "two.mp4")]
    check([dead])
    assert (dead["verdict"], dead["reason"]) == ("undecided", "unreadable")
    assert "SIGSEGV" in dead["not_analysed"][0]["detail"]
    assert verdicts[str(folder / "one.mp4")]["verdict"] == "fake"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_journal_is_gone_on_from(folder: Path, models: dict[str, Path], tmp_path: Path) -> None:
    out, journal = tmp_path / "all.json", tmp_path / "all.jsonl"
    model = str(models["fake"])
    assert run([str(folder)], model, Options(), Outputs(jsonl=journal)) == 3
    whole = lines(journal)
    check(whole)
    assert whole == [one.to_json() for one in detect_paths([folder], models["fake"])]
    # Cut off in the middle of the fourth line; one of those before has changed since.
    text = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(text[:3]) + text[3][:50])
    os.utime(whole[0]["path"])
    before = {v["path"]: v for v in whole[1:3]}
    assert run([str(folder)], model, Options(), Outputs(jsonl=journal, json=str(out))) == 3
    again = lines(journal)
    assert [v["path"] for v in again[:3]] == [v["path"] for v in whole[:3]]
    assert len(again) == 3 + 4  # the changed one, and the three that were missing
    final = {v["path"]: v for v in json.loads(out.read_text())}
    assert {path: final[path] for path in before} == before
    assert len(final) == 6
    with pytest.raises(ConfigError, match="another model"):
        run([str(folder)], str(models["plain"]), Options(), Outputs(jsonl=journal))
    with pytest.raises(ConfigError, match="other options"):
        run([str(folder)], model, Options(every=5), Outputs(jsonl=journal))


@pytest.mark.parametrize(
    "content",
    [b"{}\n", b'{"important": 1}', b"{", b"\x89PNG" + b"x" * 1000, b"[]", b"\n", b'{"schema_version": 1, "path": "a"}',
     b'{"schema_version": 2, "path": "a", "verdict"'])  # fmt: skip
def test_a_foreign_file_is_no_journal(folder: Path, models: dict[str, Path], tmp_path: Path, content: bytes) -> None:
    foreign = tmp_path / "notes"
    foreign.write_bytes(content)
    with pytest.raises(InputError, match="line 1"):
        run([str(folder / "face.png")], str(models["fake"]), Options(), Outputs(jsonl=foreign))
    assert foreign.read_bytes() == content
    assert os.listdir(tmp_path) == ["notes"]


def test_a_journal_that_somebody_appended_to_is_refused(folder: Path, models: dict[str, Path], tmp_path: Path) -> None:
    journal = tmp_path / "v.jsonl"
    judge = [str(folder / "face.png")], str(models["fake"]), Options()
    assert run(*judge, Outputs(jsonl=journal)) == 0
    ours = journal.read_bytes()
    journal.write_bytes(ours + b"my notes")
    with pytest.raises(InputError, match="line 2"):
        run(*judge, Outputs(jsonl=journal))
    assert journal.read_bytes() == ours + b"my notes"
    journal.write_bytes(ours.rstrip())  # as an editor leaves it
    assert run(*judge, Outputs(jsonl=journal)) == 0
    assert journal.read_bytes() == ours
    with open(journal, "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another run is writing"):
            run(*judge, Outputs(jsonl=journal))


def test_a_journal_on_a_full_disk_ends_with_a_complete_line(tmp_path: Path) -> None:
    """A limit on a file's size stands for the full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    item, verdict = Input("a", False), Verdict("a", None, "real", None)
    with closing(JsonLines([item], tmp_path / "v.jsonl", Outputs())) as journal:
        journal.open()
        journal.begin({})
        journal.add(1, item, Judged(verdict, False))
        resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 50, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                journal.add(1, item, Judged(replace(verdict, path="b" * 100), False))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert lines(journal.path) == [verdict.to_json()]
        journal.add(1, item, Judged(replace(verdict, path="c"), False))
    assert [v["path"] for v in lines(journal.path)] == ["a", "c"]


def test_interrupted_it_keeps_what_it_has(folder: Path, models: dict[str, Path], tmp_path: Path) -> None:
    journal = tmp_path / "v.jsonl"
    command = [sys.executable, "-m", "mrigan.cli", "detect", f"{folder}/*.mp4", "--model", str(models["fake"]),
               "--jsonl", str(journal), "--workers", "1", "--every", "1", "--small-faces"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        threading.Event().wait(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    kept = lines(journal)
    assert kept
    if process.returncode == 75:  # it may have been done already
        assert f"stopped; {len(kept)} of 5 done, in {journal}; the same command continues" in said
        assert len(kept) < 5
    assert subprocess.run(command, check=False, capture_output=True).returncode == 3
    assert sorted(v["path"] for v in lines(journal)) == sorted(map(str, folder.glob("*.mp4")))
