"""Whether a model was trained or chosen on the samples that it is scored on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrigan.data import ShardSet
from mrigan.data.separation import stored
from mrigan.errors import ShardError
from mrigan.evaluation.report import UNKNOWN
from mrigan.files import hash_json
from mrigan.shardset.folder import ShardFolder

STATEMENTS = {
    "trained": "was trained on this split: figures on it say nothing of new faces",
    "chosen": "was chosen on this split, with its thresholds: here it looks better than it is",
    "shared": "was trained on {count} of the {all} families of this split: figures on these say nothing of new faces",
    "separate": "was trained on another split of this set, which shares no family with this one",
    "other": "was trained on another set, which shares no family with this split",
    "another": "was trained on another set; whether that shares families with this split is not known, because the set "
    "is not available",
    "unknown": UNKNOWN["says"],
}


def trained_on(provenance: Mapping[str, Any], shards: ShardSet) -> dict[str, str]:
    """How the training data of a model relate to the samples of a split, by the hashes of shard sets.

    If the sets differ and the model's training set is still where it was, their families are compared.

    Args:
        provenance: the model's.

    Returns:
        `{"state": a key of `STATEMENTS`, "says": a sentence without its subject}`.
    """
    state, counts = _state(provenance, shards)
    return {"state": state, "says": STATEMENTS[state].format(**counts)}


def _state(provenance: Mapping[str, Any], shards: ShardSet) -> tuple[str, dict[str, int]]:
    whole = provenance.get("data_hash")
    if not whole:
        return "unknown", {}
    data = _data(provenance)
    hashes = provenance.get("shard_hashes")
    known = set(hashes) if isinstance(hashes, list) else set()
    here = [hash_ in known or whole in (shards.hash, hash_json([hash_])) for hash_ in shards.folder_hashes]
    if any(here) and shards.split == data.get("train_split", "train"):
        return "trained", {}
    if any(here) and shards.split == data.get("val_split", "val"):
        return "chosen", {}
    if all(here):
        return "separate", {}
    learned = _families_learned(data, known, str(whole))
    if learned is None:
        return "another", {}
    scored = {family for folder in shards.folders for split, family, *_ in stored(folder) if split == shards.split}
    shared = scored & learned
    return ("shared", {"count": len(shared), "all": len(scored)}) if shared else ("other", {})


def _data(provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    config = provenance.get("config")
    data = config.get("data") if isinstance(config, Mapping) else None
    return data if isinstance(data, Mapping) else {}


def _families_learned(data: Mapping[str, Any], known: set[str], whole: str) -> set[str] | None:
    """The families of a training set that is still where it was; None if it is not."""
    places = data.get("shards")
    folders = []
    for place in places if isinstance(places, list) else []:
        try:
            folders.append(ShardFolder.open(Path(str(place))))
        except ShardError:
            return None
    found = {folder.hash for folder in folders}
    if not found or (found != known if known else hash_json(sorted(found)) != whole):
        return None
    split = data.get("train_split", "train")
    return {family for folder in folders for name, family, *_ in stored(folder.path) if name == split}
