"""The results of a scan and an audit in the form that the tests compare."""

from __future__ import annotations

from mrigan.catalog import Catalog, Leak


def by_id(catalog: Catalog) -> dict:
    return {clip.id: clip for clip in catalog.clips}


def differences(result) -> dict[str, int]:
    return {problem.reason: problem.count for problem in result.differences}


def problems(result) -> dict[str, int]:
    return {problem.reason: problem.count for problem in result.problems}


def keys(leaks: list[Leak], kind: str) -> set[str]:
    return {leak.key for leak in leaks if leak.kind == kind}
