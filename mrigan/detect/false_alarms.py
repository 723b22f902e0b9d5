"""`mrigan evaluate --false-alarms`: the verdicts of models on real videos, pictures and shards.

Files go the way of `mrigan detect`, so that what is measured is what an operator gets: frames, faces, rule and limits.
Their verdicts are kept as JSON lines, and an interrupted run continues. Shards skip the search for faces.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrigan.detect.command import ANSWERED, NOTHING, SOME_UNREADABLE, run
from mrigan.detect.inputs import expand
from mrigan.detect.options import Options, Outputs
from mrigan.detect.shard_verdicts import reals_of_shards
from mrigan.detect.verdict import Verdict
from mrigan.evaluation.false_alarms import Gate, RealVerdict, measure_false_alarms
from mrigan.evaluation.false_alarms_report import write_false_alarms
from mrigan.files import shown
from mrigan.scoring.evaluate import model_names
from mrigan.scoring.options import ScoringOptions
from mrigan.shardset.layout import Layout
from mrigan.stopping import Stopped
from mrigan.tracking import resolve

FOUND = (ANSWERED, NOTHING, SOME_UNREADABLE)  # exit codes of a run that judged all inputs


def evaluate_false_alarms(
    models: Sequence[str],
    paths: Sequence[str],
    out: Path,
    options: ScoringOptions = ScoringOptions(),  # noqa: B008 (frozen)
    gate: Gate = Gate(),  # noqa: B008 (frozen)
    *,
    force: bool = False,
) -> list[dict[str, Any]]:
    """Judge reals by every model, and write the report (see `write_false_alarms`).

    Args:
        paths: finished shard folders, of which the reals of a split are taken; and videos, pictures, patterns and
            folders with their sub-folders, all of them real.

    Returns:
        What `measure_false_alarms` returns, one a model.

    Raises:
        Stopped: by a signal; the same call continues.
        InputError, ModelError, ShardError: nothing real is there, or something cannot be used.
    """
    shards = [Path(path) for path in paths if Layout(Path(path)).manifest.is_file()]
    files = [path for path in paths if Path(path) not in shards]
    results, about = [], {}
    for name, model in zip(model_names(models), models, strict=True):
        reals: list[RealVerdict] = []
        notes: list[str] = []
        if files:
            verdicts = out / f"verdicts-{_file_name(name)}.jsonl"
            reals += _reals_of_files(model, files, verdicts, options, force)
            notes.append(
                f"Files were judged by mrigan detect; all verdicts are in {verdicts.name}. A source is a folder."
            )
        if shards:
            reals += reals_of_shards(resolve(model), name, shards, options)
            notes.append(
                f"Of shards, the reals of the {options.split} split; a source is a data set in one compression."
            )
        results.append(measure_false_alarms(name, reals, gate))
        about[name] = notes
    write_false_alarms(results, about, out)
    return results


def _reals_of_files(
    model: str, paths: Sequence[str], verdicts: Path, options: ScoringOptions, force: bool
) -> list[RealVerdict]:
    """The verdicts on files; a source is a folder."""
    outputs = Outputs(jsonl=verdicts, force=force)
    if run(paths, model, Options(device=options.device), outputs, recursive=True) not in FOUND:
        raise Stopped(f"not all files have a verdict; those that have are in {shown(str(verdicts))}",
                      fix="run the same command again to continue")  # fmt: skip
    inputs = {item.path for item in expand(paths, recursive=True)[0]}
    with open(verdicts, encoding="utf-8") as file:
        found = [Verdict.from_json(json.loads(line)) for line in file]
    judged = {verdict.path: verdict for verdict in found if verdict.path in inputs}
    sources = _sources(list(judged))
    return [
        RealVerdict(sources[path], shown(path), one.verdict, one.reason or "", one.probability)
        for path, one in judged.items()
    ]


def _sources(paths: Sequence[str]) -> dict[str, str]:
    """By path, the folder of the file, without what all folders have in common but the last part of that."""
    folders = {path: os.path.dirname(os.path.abspath(path)) for path in paths}
    root = os.path.dirname(os.path.commonpath(list(folders.values()))) if folders else ""
    return {path: shown(os.path.relpath(folder, root)) for path, folder in folders.items()}


def _file_name(model: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in model)
