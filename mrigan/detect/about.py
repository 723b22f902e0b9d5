"""What a verdict says of the model that gave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from mrigan import __version__
from mrigan.config import FacesConfig
from mrigan.config.model_card import DETECTOR_FILE, DataCard, FittedDecision, ThresholdCounts, given
from mrigan.evaluation.rates import exact_interval
from mrigan.text import shortened

if TYPE_CHECKING:
    from mrigan.models.bundle import Bundle

MAX_QUOTED = 50  # entries of a list or an object of model.json
COUNTS = tuple(count.name for count in fields(ThresholdCounts))


def about_model(bundle: Bundle, name: str, config: FacesConfig) -> dict[str, Any]:
    """What a verdict says of the model that gave it."""
    card = bundle.card
    thresholds = card.provenance.get("thresholds") or {}
    sums = {file: card.files[file].sha256 for file in sorted(card.files)}
    return {
        "name": name,
        "input": bundle.input,
        "generator": bundle.draws_mris,
        "map": bool(card.detector.decoder),
        "own_rule": card.judging.rule,
        "backbone": card.detector.backbone,
        "networks": card.detector.networks,
        "sha256": sums.get(DETECTOR_FILE, ""),
        "files": sums,
        "provenance": _quoted_provenance(card.provenance),
        "thresholds_source": shortened(thresholds.get("source", "")),
        "learned_from": learned_from(card.data),
        "data": {} if card.data == DataCard() else given(_quoted_data(card.data)),
        "validation": validation_of(thresholds),
        "faces": {
            "every": config.every,
            "frames": config.frames,
            "shrink": config.shrink,
            "long_side": config.long_side,
            "min_face": config.min_face,
            "thresholds": config.thresholds,
            "margin": config.margin,
            "crop": config.crop,
            "size": config.size,
            "resize": config.resize,
            "align": config.align,
        },
        "mrigan": __version__,
    }


def _quoted_provenance(provenance: Mapping[str, Any]) -> dict[str, str | int | float]:
    """The plain values; a model.json from elsewhere may hold megabytes, and each verdict quotes them."""
    plain = ((k, v) for k, v in provenance.items() if isinstance(v, str | int | float) and v != "")
    return {shortened(k): shortened(v) if isinstance(v, str) else v for k, v in islice(plain, MAX_QUOTED)}


def _quoted_data(data: DataCard) -> DataCard:
    return replace(data, about=shortened(data.about), datasets=[shortened(name) for name in data.datasets[:MAX_QUOTED]])


def learned_from(data: DataCard) -> str | None:
    """In a few words, what a model says that it learned from; None where it does not."""
    text = shortened(" ".join((data.about or ", ".join(data.datasets[:MAX_QUOTED])).split()))
    families = data.training.families
    return f"{text} ({families} families)" if text and families is not None else text or None


def validation_of(thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """The rates on the videos that chose the thresholds, what they are made of, and their exact 95 % intervals; or, of
    thresholds that were fitted on real files alone, the `decision`: its rule and counts."""
    if decision := thresholds.get("decision"):
        known = {field.name: field.default for field in fields(FittedDecision) if field.name != "source"}
        return {"decision": {name: decision.get(name, default) for name, default in known.items()}}
    seen: dict[str, Any] = {k: thresholds[k] for k in ("tpr", "tnr") if thresholds.get(k) is not None}
    counts = thresholds.get("counts") or {}
    if not set(COUNTS) <= counts.keys() or len(seen) < 2:
        return seen
    intervals = {
        "tpr_interval": exact_interval(seen["tpr"], min(counts["fakes"], counts["fake_families"])),
        "tnr_interval": exact_interval(seen["tnr"], min(counts["reals"], counts["real_families"])),
    }
    return seen | {key: counts[key] for key in COUNTS} | {name: list(pair) for name, pair in intervals.items()}
