"""A treatment from the record that it leaves in a sample's json: what is stored says all that was done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrigan.imaging.treatment import Step, Treatment


def treatment_of(record: Mapping[str, Any]) -> Treatment:
    steps = [dict(step) for step in record["steps"]]
    return Treatment(
        record["seed"],
        record["family"],
        tuple(Step(step.pop("kind"), step.pop("name"), step) for step in steps),
    )
