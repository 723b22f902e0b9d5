"""What is printed is text: no markup, no emoji codes, nothing that steers a terminal."""

from __future__ import annotations

import io
import json
import logging

import pytest
from rich.table import Table
from rich.text import Text

from mrigan import progress, terminal
from mrigan.errors import InputError
from mrigan.text import printable

HOSTILE = "[/x][bold]b[/bold]:smile:\x1b[31m\x07\x9b2J\u202egpj\u200b\r\nerror: forged\udce9"
SHOWN = r"[/x][bold]b[/bold]:smile:\x1b[31m\x07\x9b2J\u202egpj\u200b\r\nerror: forged\udce9"


def test_only_what_is_not_shown_as_itself_is_escaped() -> None:
    assert printable(HOSTILE) == SHOWN
    for name in ("人 clip.mp4", "Screenshot 2024\u202fPM.png", "Ωmega – “x”\u3000y", "a\\nb", "👍🏽"):
        assert printable(name) == name
    assert printable("a\nb\tc", keep="\n") == "a\nb\\tc"


def _console() -> tuple[terminal.Console, io.StringIO]:
    file = io.StringIO()
    return terminal.Console(file=file, width=300), file


def test_strings_tables_and_texts() -> None:
    console, file = _console()
    table = Table("name", HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_row(HOSTILE, Text(HOSTILE.replace("\r", "")))  # Rich takes some characters out of a Text
    console.print(HOSTILE, table)
    console.rule(HOSTILE)
    written = file.getvalue()
    assert written.count(SHOWN) == 6
    assert printable(written, keep="\n") == written
    assert r"[/x][bold]b[/bold]:smile:\x1b[31m" in written.replace(SHOWN, "")  # the Text


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(progress, "console", terminal.Console(file=file, force_terminal=True, width=300))
    with progress.bar(f"looking at {HOSTILE}", 1) as advance:
        advance(1, f"(now {HOSTILE})")
    assert f"looking at {SHOWN}" in file.getvalue()
    assert f"(now {SHOWN})" in file.getvalue()


def test_lines_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.echo(HOSTILE)
    terminal.say(HOSTILE)
    terminal.say_error(InputError("wrong", where=HOSTILE, fix="mend it"))
    out, err = capsys.readouterr()
    assert out == f"{SHOWN}\n"
    assert err == f"{SHOWN}\nerror: wrong\n  where: {SHOWN}\n  to do: mend it\n"


def test_json_is_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"name": HOSTILE, "other": ["人", "\U000e0001", "\n"]}
    terminal.echo_json(data)
    out = capsys.readouterr().out
    assert json.loads(out) == data
    assert "人" in out
    assert printable(out, keep="\n") == out


@pytest.mark.parametrize("on_terminal", [False, True])
def test_log_lines(on_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    file = io.StringIO()
    console = terminal.Console(file=file, force_terminal=on_terminal, color_system=None, width=300)
    monkeypatch.setattr(terminal, "console", console)
    log = logging.Logger("made here")
    log.addHandler(terminal.log_handler("%(levelname)s %(message)s"))
    log.warning("about %s", HOSTILE)
    lines = (file.getvalue() if on_terminal else capsys.readouterr().err).splitlines()
    first, forged = SHOWN.split(r"\n")
    assert first in lines[0]
    assert lines[1].startswith("    ")
    assert lines[1].strip() == forged
