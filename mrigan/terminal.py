"""Printing and logging for all of Mrigan: names from outside are never markup, emoji codes or control characters.

The linter bans other ways to print. A string is one line of text. Text with a style or with several lines is a
`rich.text.Text`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.logging import RichHandler
from rich.segment import Segment
from rich.text import Text

from mrigan.text import printable


class Console(RichConsole):
    """A Rich console that shows `[/x]`, `:smile:` and control characters literally, also in tables and bars.

    Args:
        options: of `rich.console.Console`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)  # before its width is measured

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text, keep="\n"), style, control)


class _StandardError(Console):
    """Standard error. If its reader has gone, the work continues without output."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


console = _StandardError(stderr=True)


def say(text: str, style: str | None = None, *, lines: bool = False) -> None:
    """Print a line to standard error; never fails.

    Args:
        lines: the text has several lines.
    """
    try:
        shown = Text(printable(text, keep="\n" if lines else ""))
        console.print(shown, style=style, soft_wrap=True)
    except OSError:  # for example a full disk
        console.quiet = True


def say_error(error: Exception) -> None:
    """Print an error, which may be several lines, to standard error."""
    console.print("error: ", style="bold red", end="")
    say(str(error), lines=True)


def echo(text: object = "", *, lines: bool = False) -> None:
    """Print a line to standard output.

    Args:
        lines: the text has several lines.
    """
    sys.stdout.write(printable(str(text), keep="\n" if lines else "") + "\n")
    sys.stdout.flush()


def echo_json(data: Any) -> None:
    r"""Print JSON to standard output; unprintable characters are JSON escapes, such as `\u001b`."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    if not text.replace("\n", "").isprintable():  # the only line ends are those of the layout
        text = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    echo(text, lines=True)


class LineFormatter(logging.Formatter):
    """Formats log messages. Further lines of a message are indented, so that they do not look like other messages."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        record.message = printable(record.message, keep="\n").replace("\n", "\n    ")
        return super().formatMessage(record)


def log_handler(line: str, *, datefmt: str | None = None, **options: Any) -> logging.Handler:
    """A log handler: on a terminal, above the progress bar; elsewhere, one line per message in the format `line`.

    Args:
        line: a format of `logging`. options: of `rich.logging.RichHandler`.
    """
    if not console.is_terminal:
        handler: logging.Handler = logging.StreamHandler()
        handler.setFormatter(LineFormatter(line, datefmt=datefmt))
        return handler
    handler = RichHandler(console=console, show_path=False, **options)
    handler.setFormatter(LineFormatter("%(message)s"))
    return handler
