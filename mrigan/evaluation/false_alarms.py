"""False alarms: the share of real videos of each source that a model calls fake, and the gate of a release.

Only reals are needed. Shares are of the videos that could be read, by the model's own rule, thresholds and limits.
Intervals are exact (see `mrigan.evaluation.rates`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mrigan.errors import InputError
from mrigan.evaluation.intervals import MIN_CLUSTERS
from mrigan.evaluation.rates import exact_interval

UNREADABLE = "unreadable"
SHARES = {"fake": "called fake", "undecided": "undecided"}


@dataclass(frozen=True)
class RealVerdict:
    """The verdict on one real video or picture.

    Attributes:
        source: where it comes from: a folder, or a data set with its compression. name: of the video.
        verdict: fake, real or undecided. reason: why it is undecided, else "".
        probability: of fake, as the verdict states it; None without a face.
        family, group: of the scores table; "" = unknown.
    """

    source: str
    name: str
    verdict: str
    reason: str = ""
    probability: float | None = None
    family: str = ""
    group: str = ""


@dataclass(frozen=True)
class Gate:
    """The largest shares of reals, 0..1, that a release may call fake or leave undecided; None = any."""

    max_fake: float | None = None
    max_undecided: float | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by verdict."""
        both = {"fake": self.max_fake, "undecided": self.max_undecided}
        return {verdict: limit for verdict, limit in both.items() if limit is not None}


def measure_false_alarms(model: str, verdicts: Sequence[RealVerdict], gate: Gate = Gate()) -> dict[str, Any]:
    """The shares of one model, by source and over all reals, and whether they pass the gate.

    The gate fails if a share over all reals is above its limit. It also fails if a source is certainly above its limit:
    if even the low end of its interval is. So a bad source cannot hide behind many good ones, and a single video of a
    small source does not fail a release.

    Returns:
        `{"model", "sources": [row], "total": row, "limits": {verdict: share}, "passed": bool or None without a limit,
        "failures": [sentence], "called_fake": [RealVerdict as dict, the most probable first]}`. A row has `source`,
        `videos` (readable), `unreadable`, `trials` (people or families where these are known, else videos), `fake` and
        `undecided` (counts), `reasons` {reason: count}, `shares` and `intervals` {verdict: …}.

    Raises:
        InputError: no video could be read.
    """
    by_source: dict[str, list[RealVerdict]] = {}
    for one in verdicts:
        by_source.setdefault(one.source, []).append(one)
    total = _row("all reals", verdicts)
    if not total["videos"]:
        raise InputError("no real video could be read", where=", ".join(by_source), fix="give videos or pictures")
    sources = [_row(source, of_source) for source, of_source in sorted(by_source.items())]
    failures = []
    for verdict, limit in gate.limits.items():
        allowed = f"are {SHARES[verdict]}; at most {_percent(limit)} may be"
        if total["shares"][verdict] > limit:
            failures.append(f"{_percent(total['shares'][verdict])} of all reals {allowed}")
        for row in sources:
            low, high = row["intervals"][verdict]
            if row["videos"] and low > limit:
                failures.append(f"{row['source']}: {_percent(low)} to {_percent(high)} (95 %) {allowed}")
    called_fake = sorted((one for one in verdicts if one.verdict == "fake"), key=lambda one: -(one.probability or 0))
    return {
        "model": model,
        "sources": sources,
        "total": total,
        "limits": gate.limits,
        "passed": not failures if gate.limits else None,
        "failures": failures,
        "called_fake": [
            {"source": one.source, "name": one.name, "probability": one.probability} for one in called_fake
        ],
    }


def _row(source: str, verdicts: Sequence[RealVerdict]) -> dict[str, Any]:
    readable = [one for one in verdicts if one.reason != UNREADABLE]
    counts = {verdict: sum(one.verdict == verdict for one in readable) for verdict in SHARES}
    trials = _trials(readable)
    shares = {verdict: count / len(readable) if readable else None for verdict, count in counts.items()}
    return {
        "source": source,
        "videos": len(readable),
        "unreadable": len(verdicts) - len(readable),
        "trials": trials,
        **counts,
        "reasons": dict(sorted(Counter(one.reason for one in readable if one.reason).items())),
        "shares": shares,
        "intervals": {verdict: list(exact_interval(share or 0.0, trials)) for verdict, share in shares.items()},
    }


def _trials(verdicts: Sequence[RealVerdict]) -> int:
    """The number of independent trials: of people, if all are named and at least ten; else of families, or videos."""
    groups = {(one.source, one.group) for one in verdicts}
    if all(group for _, group in groups) and len(groups) >= MIN_CLUSTERS:
        return len(groups)
    return len({(one.source, one.family or one.name) for one in verdicts})


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
