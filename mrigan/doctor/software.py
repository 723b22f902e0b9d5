"""Python, the packages that Mrigan needs, and those that it can use."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from importlib.util import find_spec

from packaging.requirements import Requirement

from mrigan import __version__
from mrigan.finding import Finding, note, ok, problem

INSTALL = "pip install --constraint constraints.txt --editable '.[demo]', in the clone (make venv)"
OPTIONAL = {  # extra: module, what it is for, the setting that asks for it
    "dali": ("nvidia.dali", "decoding on the GPU", "data.loader=dali"),
    "deepspeed": ("deepspeed", "ZeRO", "engine.name=zero0 … zero3"),
    "ray": ("ray", "building shards over a Ray cluster", "mrigan shards build --distributor ray"),
}


def check_versions() -> Iterator[Finding]:
    """Python and the required packages, against what Mrigan's own metadata asks for."""
    version = platform.python_version()
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        yield problem("python", f"Python {version}", "use Python 3.11 or 3.12")
    wrong = []
    for text in metadata.requires("mrigan") or []:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            wrong.append(f"{wanted.name} {found}, and {wanted.specifier} is needed")
    if wrong:
        yield problem("packages", "; ".join(wrong), INSTALL)
        return
    yield ok("packages", f"mrigan {__version__}, Python {version}, torch {metadata.version('torch')}, none is missing")
    try:
        import_module("torchvision")
    except (ImportError, RuntimeError) as error:  # "operator torchvision::nms does not exist"
        first = str(error).splitlines()[0]
        yield problem("torchvision", f"does not go with this torch: {first}", f"install both from one index: {INSTALL}")


def check_optional(needed: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """The packages of the extras.

    Args:
        needed: extras without which the config in question cannot be trained.
    """
    for extra, (module, purpose, setting) in OPTIONAL.items():
        if _is_there(module):
            yield ok(extra, f"{_version(module)}, for {purpose}")
        elif extra in needed:
            yield problem(extra, f"is not installed, and {setting} needs it", f"pip install 'mrigan[{extra}]'")
        else:
            yield note(extra, f"is not installed: no {purpose}", f"for {setting}: pip install 'mrigan[{extra}]'")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent
        return False


def _version(module: str) -> str:
    names = metadata.packages_distributions().get(module.partition(".")[0], [])
    known = [f"{name} {metadata.version(name)}" for name in names if module.rpartition(".")[2] in name]
    return known[0] if known else module
