"""Everything that determines the bytes of a set, except the clips themselves. The plan's hash is its hash."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mrigan.config import ShardsConfig, differences, to_dict
from mrigan.files import hash_json, sha256_file
from mrigan.shardset.layout import FORMAT

# Settings that are newer than the format: at their defaults they do not change a plan's hash
NEWER = (("recipe", "mri_of"), *(("faces", name) for name in ("cropped", "landmarks", "frames", "shrink", "crop",
         "align", "align_scale")))  # fmt: skip


def what_decides(config: ShardsConfig, catalog_hash: str, format: int = FORMAT) -> dict[str, Any]:
    """Everything that determines the bytes of the set, except the clips themselves."""
    weights = config.mri.weights
    return {"format": format, "config": _settings(to_dict(config)), "catalog": catalog_hash,
            "mri_weights": sha256_file(weights) if weights else ""}  # fmt: skip


def check_decides(plan: Mapping[str, Any]) -> None:
    """Check that the values of a plan.json agree with each other and with its hash.

    Raises:
        ValueError: they contradict each other; the message says which.
        KeyError, TypeError, AttributeError: it is not a plan.
    """
    decides, settings = plan["decides"], _settings(plan["config"])
    if hash_json(decides) != plan["plan_hash"]:
        raise ValueError("plan_hash is not the hash of its `decides`")
    settings["video"].pop("pictures", None)  # plans of format 2 did not name it
    decided = copy.deepcopy(decides["config"])
    decided["video"].pop("pictures", None)
    changed = differences(decided, settings)
    for key, value in (("format", plan["format"]), ("catalog", plan["catalog"]["hash"])):
        changed += [f"{key}: {decides[key]} → {value}"] if value != decides[key] else []
    if plan["kind"] != plan["config"]["pack"]["kind"]:
        changed.append(f"kind: {plan['config']['pack']['kind']} → {plan['kind']}")
    if changed:
        raise ValueError("it contradicts itself: " + "; ".join(changed))


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a config that determine bytes."""
    settings: dict[str, Any] = copy.deepcopy(dict(config))
    video, pack = settings["video"], settings["pack"]
    settings.pop("limits", None)  # neither they nor the folder of the detections change bytes
    pack.pop("faces_dir", None)
    if not pack.get("match"):
        pack.pop("match", None)  # as in plans from before it existed
    if video["device"] == "cpu" and video["decoder"] == "auto":
        video["decoder"] = "pyav"  # it is what `auto` chooses there
    if video["device"] == "cuda":
        video["pictures"] = "torch"  # it treats and crops them there, with other bytes than OpenCV
    for room, name in NEWER:
        if name in settings[room] and settings[room][name] == getattr(getattr(ShardsConfig(), room), name):
            del settings[room][name]
    settings["mri"].pop("weights", None)  # their SHA-256 is in `mri_weights`
    return settings
