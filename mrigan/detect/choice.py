"""Which model gives the verdict when none is named."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path

from mrigan.errors import ModelError
from mrigan.tracking import list_models, resolve, tracking_uri
from mrigan.tracking.lookup import aliased
from mrigan.tracking.registry import CANDIDATE, CHAMPION, MODEL_FILE, NAMES
from mrigan.tracking.store import store_exists

log = logging.getLogger(__name__)

DEMO_STORE = "sqlite:///demo/mlflow.db"  # the demo keeps its own, so that a toy is no champion of a real registry
MODEL_FOLDERS = ("runs/*/model", "demo/*/model", "demo/runs/*/model")


def choose_model(ref: str | Path | None = None) -> tuple[Path, str]:
    """The model's folder, and how it is called.

    Named: a folder, or `models:/NAME@ALIAS`. Not named, the first that exists of: the champion of the registry in use
    (`mrigan-face` before the other `NAMES`), its candidate, the same of the demo's registry, the newest model folder of
    `runs/` or `demo/`.

    Raises:
        ModelError: there is none; says how to get one.
    """
    if ref is not None:
        return resolve(ref), str(ref)
    for uri in dict.fromkeys((tracking_uri(), tracking_uri(DEMO_STORE))):
        if not store_exists(uri):
            continue
        known = _aliased(uri)
        for alias in (CHAMPION, CANDIDATE):
            for name in NAMES:
                if (name, alias) in known:
                    chosen = f"models:/{name}@{alias}"
                    if alias == CANDIDATE:
                        log.warning(
                            "%s has no champion model; using the newest candidate, %s. "
                            "To choose one: mrigan models promote %s VERSION",
                            uri,
                            chosen,
                            name,
                        )
                    return resolve(chosen, uri), chosen
    folders = [file.parent for pattern in MODEL_FOLDERS for file in Path().glob(f"{pattern}/{MODEL_FILE}")]
    if folders:
        newest = max(folders, key=lambda folder: os.stat(folder / MODEL_FILE).st_mtime)
        log.warning("no model is registered; using the newest model folder, %s", newest)
        return newest, str(newest)
    raise ModelError(
        "there is no model",
        where=f"{tracking_uri()}, {Path.cwd()}/runs and demo",
        fix="train one: mrigan train detector CONFIG (or make demo); or name one: --model DIR, "
        "--model models:/mrigan-face@champion",
    )


def _aliased(uri: str) -> Collection[tuple[str, str]]:
    """(name, alias) of all that have one."""
    known = aliased(uri)
    if known is not None:
        return known.keys()
    return {(version.name, alias) for version in list_models(uri) for alias in version.aliases}
