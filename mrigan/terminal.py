"""What is printed, and what is logged, is text: no name from outside is markup, an emoji code or a control character.

All of Mrigan prints through here, so that no place has to think of it; the linter bans the other ways. A string is one
line of text. What has a style, or several lines by intent, is a `rich.text.Text` of our own.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from mrigan.text import printable


class Console(RichConsole):
    """Shows `[/x]`, `:smile:` and control characters letter by letter, in strings, tables, bars and `Text`s.

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
    """Standard error. Once nobody reads it any more, the work goes on in silence."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


console = _StandardError(stderr=True)


def say(text: str, style: str | None = None, *, lines: bool = False) -> None:
    """Print a line to standard error; never fails.

    Args:
        lines: the text is several lines.
    """
    try:
        shown = Text(printable(text, keep="\n" if lines else ""))
        console.print(shown, style=style, soft_wrap=True)
    except OSError:  # a full disk behind it
        console.quiet = True


def say_error(error: Exception) -> None:
    """Print an error, which may be several lines, to standard error."""
    console.print("error: ", style="bold red", end="")
    say(str(error), lines=True)


def echo(text: object = "", *, lines: bool = False) -> None:
    """Print a line to standard output.

    Args:
        lines: the text is several lines.
    """
    sys.stdout.write(printable(str(text), keep="\n" if lines else "") + "\n")
    sys.stdout.flush()


def echo_json(data: Any) -> None:
    r"""Print JSON to standard output; a character that would not be shown as itself is its JSON escape, `\u001b`."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    if not text.replace("\n", "").isprintable():  # ends of lines are the layout: in a string they are escaped
        text = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    echo(text, lines=True)


class LineFormatter(logging.Formatter):
    """Log lines as text. A message of several lines is indented, so that none of them can pass for another message."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        record.message = printable(record.message, keep="\n").replace("\n", "\n    ")
        return super().formatMessage(record)


def log_handler(line: str, *, datefmt: str | None = None, **options: Any) -> logging.Handler:
    """Where log lines go: on a terminal beside the progress bar; elsewhere one line a message, as `line` says.

    Args:
        line: a format of `logging`. options: of `rich.logging.RichHandler`.
    """
    if not console.is_terminal:
        handler: logging.Handler = logging.StreamHandler()
        handler.setFormatter(LineFormatter(line, datefmt=datefmt))
        return handler
    from rich.logging import RichHandler

    handler = RichHandler(console=console, show_path=False, **options)
    handler.setFormatter(LineFormatter("%(message)s"))
    return handler
