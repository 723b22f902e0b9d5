"""What a check found, how grave it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How grave a finding is."""

    OK = "ok"
    NOTE = "note"  # worth knowing; nothing is wrong
    WARNING = "warning"  # training works, slower or with less safety
    PROBLEM = "problem"  # would stop a training


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        check: what was looked at, one or two words.
        found: what was found.
        fix: what to do; "" where nothing is to be done.
    """

    check: str
    level: Level
    found: str
    fix: str = ""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, found)


def note(check: str, found: str, fix: str = "") -> Finding:
    """Worth knowing."""
    return Finding(check, Level.NOTE, found, fix)


def warning(check: str, found: str, fix: str) -> Finding:
    """Works, but should be mended."""
    return Finding(check, Level.WARNING, found, fix)


def problem(check: str, found: str, fix: str) -> Finding:
    """Would stop a training."""
    return Finding(check, Level.PROBLEM, found, fix)
