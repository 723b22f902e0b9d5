"""What `mrigan detect` can be told. A field with a help text is an option of the command; see `mrigan.cli.fields`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mrigan.config.fields import option
from mrigan.files import shown

PAPERS_RULE = "fraction"  # MRI-GAN, section 5
SECONDS_PER_FILE = 3600.0  # a processor takes as long for a film of two hours


@dataclass(frozen=True)
class Options:
    """How inputs are judged."""

    pictures: bool = option(False, "Treat every file as a picture, whatever its name.", "--image")
    cropped: bool = option(False, "Treat every picture as one face that is already cut out.")
    small_faces: bool = option(False, "Look for faces below 3 % of the frame's width too; slower.")
    every: int = option(0, "Look at one frame in N; 0 = as the model was trained.", metavar="N", min=0)
    device: str = option("auto", "auto, cpu, cuda or cuda:N.")
    # bf16 is several times faster on hardware that multiplies it natively; probabilities differ in the third digit.
    precision: str = option("fp32", "fp32, or bf16: faster if the hardware supports it.")
    rule: str = option("", "Judge by another rule that the model stores, such as mean or top.", metavar="NAME")
    seconds_per_file: float = option(
        SECONDS_PER_FILE, "A file that takes longer is unreadable; 0 = no limit.", metavar="SECONDS", min=0
    )


@dataclass(frozen=True)
class Case:
    """What a page says of the case that the files belong to; an empty text is not shown."""

    number: str = option("", "The case number, for the page.", "--case", metavar="TEXT")
    examiner: str = option("", "Who judges, for the page.", metavar="TEXT")
    received: str = option("", "When or how the files were received, for the page.", metavar="TEXT")
    command: str = ""  # that made the page

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Titles and texts of what is known, without the command."""
        rows = (("Case", self.number), ("Examiner", self.examiner), ("Received", self.received))
        return [(title, shown(text)) for title, text in rows if text]


@dataclass(frozen=True)
class Outputs:
    """What a run writes besides a line per verdict; None = nothing of the kind.

    `sink` in a field's metadata is the `Sink` that writes it: MODULE:CLASS, the module in mrigan.detect.sinks or full.
    """

    json: str | None = option(None, "Write the verdicts; - = to stdout.", metavar="OUT", sink="json_list:JsonList")
    jsonl: Path | None = option(
        None, "Write a line of JSON per verdict at once; the same command continues an interrupted run.",
        metavar="OUT", sink="json_lines:JsonLines",
    )  # fmt: skip
    html: Path | None = option(None, "Write a page to read.", metavar="OUT", sink="pages:Pages")
    annotate: Path | None = option(
        None, "Write copies of the videos with boxes and probabilities.", metavar="OUT.mp4|DIR", sink="copies:Copies"
    )
    force: bool = option(False, "Replace output files that Mrigan did not write.")
    case: Case = Case()


def command_line(arguments: Sequence[str]) -> str:
    """The command of this process as it can be typed into a shell again."""
    return " ".join(shown(shlex.quote(argument)) for argument in ["mrigan", *arguments])
