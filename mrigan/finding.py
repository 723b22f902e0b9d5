"""The result of a check: what was found, how severe it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    NOTE = "note"  # information; nothing is wrong
    WARNING = "warning"  # training works, but slower or less safely
    PROBLEM = "problem"  # training would fail


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        check: what was checked, in one or two words.
        found: what was found.
        fix: what to do; "" = nothing.
    """

    check: str
    level: Level
    found: str
    fix: str = ""


def ok(check: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Level.OK, found)


def note(check: str, found: str, fix: str = "") -> Finding:
    """Information."""
    return Finding(check, Level.NOTE, found, fix)


def warning(check: str, found: str, fix: str) -> Finding:
    """Works, but should be fixed."""
    return Finding(check, Level.WARNING, found, fix)


def problem(check: str, found: str, fix: str) -> Finding:
    """Training would fail."""
    return Finding(check, Level.PROBLEM, found, fix)
