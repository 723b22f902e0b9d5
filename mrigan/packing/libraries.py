"""The libraries that make the pixels of a set. A set with pictures of two versions of OpenCV cannot be made again."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import av

from mrigan.config import ShardsConfig, differences
from mrigan.errors import ShardError
from mrigan.mri import LEARNED
from mrigan.packing.journal import node_name
from mrigan.shardset.layout import FORMAT
from mrigan.shardset.plan_file import Plan

PACKAGES = {
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "pyav": ("av",),
    "torch": ("torch",),
    "facenet-pytorch": ("facenet-pytorch",),
    "numpy": ("numpy",),
}
DALI = tuple(f"nvidia-dali-cuda{release}" for release in ("130", "120", "110"))


def libraries(config: ShardsConfig) -> dict[str, str]:
    """Versions of the libraries on this machine that decide pixels: decoding, detection, resizing, encoding.

    DALI is included if it may be the decoder, because its pixels differ. The networks of a learned metric and of the
    landmarks run in float32, whose last bits depend on the processor's instruction set, so that is included, too.
    Everything else is the same on every processor (see `mrigan.mri.stored_mri` and `mrigan.video.mtcnn`).
    """
    video = config.video
    may_be_dali = video.decoder == "dali" or (video.decoder == "auto" and video.device != "cpu")
    packages = PACKAGES | ({"dali": DALI} if may_be_dali else {})
    versions = {name: next(filter(None, map(_version, names)), "none") for name, names in packages.items()}
    codec = ".".join(str(n) for n in av.library_versions["libavcodec"])
    return versions | {"ffmpeg": f"libavcodec {codec}"} | _instructions(config)


def refuse_older_format(plan: Plan) -> None:
    """Raise ShardError for a set of an earlier format: a unit built now may differ from the existing ones."""
    if plan.format != FORMAT:
        raise ShardError(
            f"the set is of format {plan.format}, which is read but no longer built",
            where=plan.folder,
            fix=f"plan into a new folder, with pack.faces_dir={plan.faces}",
        )


def refuse_other_libraries(plan: Plan) -> None:
    """Raise ShardError if this machine's libraries are not the plan's, with each difference."""
    changed = differences(plan.libraries, libraries(plan.config))
    if changed:
        raise ShardError(
            "the plan was made with other libraries than this machine has, and their pixels differ:\n    "
            + "\n    ".join(changed),
            where=f"{plan.folder} on {node_name()}",
            fix="install the plan's versions here, or build on processors of the plan's kind; or plan again with the "
            "versions of this machine (into the same folder if nothing is built in it, else into a new one)",
        )


def _instructions(config: ShardsConfig) -> dict[str, str]:
    learned = config.mri.metric in LEARNED and config.video.device == "cpu"
    if not learned and config.faces.landmarks == "none":
        return {}
    import torch

    return {"instructions of the processor": torch.backends.cpu.get_cpu_capability()}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
