"""What a page says of the case that a file belongs to."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from mrigan.files import shown


@dataclass(frozen=True)
class Case:
    """Text as it was given, empty where it was not.

    Args:
        number: of the case. examiner: who judged. received: when, or how, the file came.
        command: that made the page.
    """

    number: str = ""
    examiner: str = ""
    received: str = ""
    command: str = ""

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Titles and texts of what is known, without the command."""
        rows = (("Case", self.number), ("Examiner", self.examiner), ("Received", self.received))
        return [(title, shown(text)) for title, text in rows if text]


def command_line(arguments: Sequence[str]) -> str:
    """The command of this process as it can be typed into a shell again."""
    return " ".join(shown(shlex.quote(argument)) for argument in ["mrigan", *arguments])
