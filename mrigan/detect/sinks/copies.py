"""`--annotate`: copies of the videos with the faces of their verdicts, drawn when all videos are judged."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mrigan.detect.annotate import annotate
from mrigan.detect.inputs import Input
from mrigan.detect.judge import Judged
from mrigan.detect.options import Outputs
from mrigan.detect.sinks.sink import Sink
from mrigan.errors import ConfigError, InputError, OutputError
from mrigan.files import Output, shown
from mrigan.outputs import annotated_video, refuse_foreign
from mrigan.progress import bar
from mrigan.terminal import say


class Copies(Sink):
    """A file that ends in .mp4 for one video, or a folder; see `copy_paths`."""

    def __init__(self, inputs: Sequence[Input], to: str | Path, outputs: Outputs) -> None:
        super().__init__(inputs, to, outputs)
        self._copies = copy_paths(inputs, to)

    def files(self) -> Sequence[Path]:
        return list(self._copies.values())

    def open(self) -> None:
        for out in self._copies.values():
            if out.exists() and not out.is_file():
                raise OutputError(
                    "the output exists and is not a file",
                    where=shown(os.fspath(out)),
                    fix="choose another path for --annotate",
                )
            refuse_foreign(out, annotated_video, self.outputs.force)
        for out in {out.parent: out for out in self._copies.values()}.values():
            Output(out).try_write()

    def complete(self, judged: Mapping[Input, Judged]) -> bool:
        with bar("drawing", len(self._copies), "videos") as advance:
            for item, path in self._copies.items():
                try:
                    if judged[item].verdict.reason != "unreadable":
                        annotate(judged[item].verdict, path)
                except InputError as error:
                    say(f"{shown(item.path)}: not annotated: {error.what}")
                advance(1)
        return bool(self._copies)


def copy_paths(inputs: Sequence[Input], to: str | Path) -> dict[Input, Path]:
    """The path of each video's copy: `to` if it is called .mp4 and there is one input, else `to`/NAME.verdict.mp4,
    numbered if two have the same name. Pictures get none.

    Raises:
        ConfigError: a file for several inputs, or for a picture.
    """
    to = Path(to)
    if to.suffix.lower() == ".mp4" and not to.is_dir():
        if len(inputs) != 1 or inputs[0].picture:
            what = "one file cannot hold several videos" if len(inputs) > 1 else "a picture has no annotated video"
            raise ConfigError(what, where="--annotate", fix="choose a folder; its name does not end in .mp4")
        return {inputs[0]: to}
    paths: dict[Input, Path] = {}
    taken: set[str] = set()
    for item in inputs:
        if item.picture:
            continue
        stem = os.fsdecode(os.fsencode(Path(item.path).stem)[:200])
        name, copy = f"{stem}.verdict.mp4", 2
        while name in taken:
            name, copy = f"{stem}-{copy}.verdict.mp4", copy + 1
        taken.add(name)
        paths[item] = to / name
    return paths
