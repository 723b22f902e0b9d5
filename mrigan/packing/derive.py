"""A set with the families, units and detected faces of another set, but with another perceptual function, for example.

Face detection is the most expensive part of a build. Detections are kept by clip and settings, so a set with other
MRIs, margins or JPEG quality uses them, and no frame goes through the detector again.
"""

from __future__ import annotations

from pathlib import Path

from mrigan.config import ShardsConfig, differences, load_config, to_dict
from mrigan.errors import ConfigError
from mrigan.files import hash_json
from mrigan.packing.libraries import libraries
from mrigan.packing.plan import check_config, store
from mrigan.shardset.decides import what_decides
from mrigan.shardset.plan_file import Plan, load_plan, read_plan_json

MAY_DIFFER = ("mri.", "recipe.mri_of", "pairs.", "faces.margin", "faces.crop", "faces.resize", "faces.align",
              "pack.jpeg_quality", "pack.faces_dir", "limits.")  # fmt: skip


def plan_from(old: str | Path, overrides: list[str], out: str | Path) -> Plan:
    """Plan a set like the one in the folder `old`, with its detections and other settings. `old` is not changed.

    Args:
        overrides: `key=value` each; not settings of the detection or of what goes into which shard.

    Raises:
        ConfigError: such a setting, or another metric for a set without MRIs.
        ShardError: there is no plan in `old`, or `out` holds something else.
    """
    source = load_plan(old)
    config = load_config(ShardsConfig, None, overrides, base=source.config)
    given = {override.partition("=")[0] for override in overrides}
    if config.mri.metric != source.config.mri.metric and "mri.weights" not in given:
        config.mri.weights = None  # they were of the other metric
    if "pack.faces_dir" not in given:
        config.pack.faces_dir = str(source.faces.resolve())
    if config.pack.kind != "pairs" and config.mri != source.config.mri:
        raise ConfigError("a set of faces holds no MRIs", where=old, fix="plan it with pack.kind=pairs")
    changed = [line for line in differences(to_dict(source.config), to_dict(config))
               if not line.startswith(MAY_DIFFER)]  # fmt: skip
    if changed:
        raise ConfigError(
            "a set that is planned from another has the same faces in the same shards:\n    " + "\n    ".join(changed),
            where=old,
            fix="plan it from the catalog",
        )
    check_config(config)
    about = read_plan_json(source.layout)
    decides = what_decides(config, about["decides"]["catalog"])
    plan = Plan(Path(out), config, hash_json(decides), source.roots, source.units, libraries(config))
    return store(plan, decides, about["catalog"]["path"])
