"""Checks of Python, the required packages and the optional ones."""

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
OPTIONAL = {  # extra: module, purpose, the setting that needs it
    "dali": ("nvidia.dali", "decoding on the GPU", "data.loader=dali"),
    "deepspeed": ("deepspeed", "ZeRO", "engine.name=zero0 … zero3"),
    "ray": ("ray", "building shards on a Ray cluster", "mrigan shards build --distributor ray"),
}


def check_versions() -> Iterator[Finding]:
    """Compare Python and the required packages with the requirements in Mrigan's metadata."""
    version = platform.python_version()
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        yield problem("python", f"Python {version}", "use Python 3.11 or 3.12")
    wrong = []
    for text in metadata.requires("mrigan") or []:
        required = Requirement(text)
        if required.marker is not None and not required.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = metadata.version(required.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{required.name} is missing")
            continue
        if not required.specifier.contains(installed, prereleases=True):
            wrong.append(f"{required.name} is {installed}, but {required.specifier} is required")
    if wrong:
        yield problem("packages", "; ".join(wrong), INSTALL)
        return
    yield ok(
        "packages", f"mrigan {__version__}, Python {version}, torch {metadata.version('torch')}; no package is missing"
    )
    try:
        import_module("torchvision")
    except (ImportError, RuntimeError) as error:  # "operator torchvision::nms does not exist"
        first = str(error).splitlines()[0]
        yield problem(
            "torchvision", f"is not compatible with this torch: {first}", f"install both from one index: {INSTALL}"
        )


def check_optional(needed: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """The packages of the extras.

    Args:
        needed: extras that the config requires.
    """
    for extra, (module, purpose, setting) in OPTIONAL.items():
        if _is_installed(module):
            yield ok(extra, f"{_version(module)}, for {purpose}")
        elif extra in needed:
            yield problem(extra, f"is not installed, but {setting} needs it", f"pip install 'mrigan[{extra}]'")
        else:
            yield note(extra, f"is not installed: no {purpose}", f"for {setting}: pip install 'mrigan[{extra}]'")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent
        return False


def _version(module: str) -> str:
    names = metadata.packages_distributions().get(module.partition(".")[0], [])
    versions = [f"{name} {metadata.version(name)}" for name in names if module.rpartition(".")[2] in name]
    return versions[0] if versions else module
