"""How the faces of shard sets were found and cut, as their plans say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrigan.config import FacesConfig, from_dict, to_dict
from mrigan.errors import ConfigError, ShardError
from mrigan.shardset.layout import Layout
from mrigan.shardset.manifest import read_manifest
from mrigan.shardset.plan_file import read_plan_json

FRAMES = ("every", "frames")  # settings of which frames are looked at, not of how a face is cut


def face_settings(folders: Sequence[str | Path]) -> dict[str, Any]:
    """How the faces of the shards were found and cut (a `FacesConfig` as a dict), which a model must repeat.

    Sets may differ in the frames that they take; the settings of the first are returned.

    Raises:
        ShardError: a folder without a readable plan.
        ConfigError: folders whose faces were cut differently.
    """
    found = [_settings_of(Path(folder)) for folder in folders]
    for folder, settings in zip(folders, found, strict=True):
        if {**settings, **dict.fromkeys(FRAMES)} != {**found[0], **dict.fromkeys(FRAMES)}:
            raise ConfigError(
                f"faces of {folder} and of {folders[0]} were cut by different settings",
                where="data.shards",
                fix="build both with the same faces.* settings",
            )
    return found[0] if found else to_dict(FacesConfig())


def _settings_of(folder: Path) -> dict[str, Any]:
    layout = Layout(folder)
    about, plan_hash = read_plan_json(layout), read_manifest(layout).get("plan_hash")
    if about.get("plan_hash", plan_hash) != plan_hash:
        raise ShardError(
            "plan.json and manifest.json are of two sets", where=folder, fix=f"mrigan shards verify {folder}"
        )
    try:
        return to_dict(from_dict(FacesConfig, about["config"]["faces"]))
    except (KeyError, TypeError, ConfigError) as error:
        raise ShardError(
            f"the plan of the shards cannot be read: {error!r}",
            where=layout.plan,
            fix=f"build the set: mrigan shards build {folder}",
        ) from None
