"""Which model gives the verdict when none is named."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from mrigan.tracking import list_models, resolve, tracking_uri
from mrigan.tracking.lookup import aliased
from mrigan.tracking.registry import CANDIDATE, CHAMPION, NAMES, SHIPPED
from mrigan.tracking.store import store_exists

log = logging.getLogger(__name__)


def choose_model(ref: str | Path | None = None) -> tuple[Path, str]:
    """The model's folder, and how it is called.

    Named: a folder, `models:/NAME@ALIAS`, or `shipped`. Not named: the champion of the registry in use (`mrigan-face`
    before the other `NAMES`); without a champion the model that is shipped with the package.

    Raises:
        ModelError: the named model does not exist, or is not a model.
    """
    if ref is not None:
        return resolve(ref), str(ref)
    uri = tracking_uri()
    registered = _aliased(uri) if store_exists(uri) else ()
    for name in NAMES:
        if (name, CHAMPION) in registered:
            chosen = f"models:/{name}@{CHAMPION}"
            return resolve(chosen, uri), chosen
    for name in NAMES:
        if (name, CANDIDATE) in registered:
            log.warning(
                "%s has no champion model; using the shipped one. To use the newest candidate: --model models:/%s@%s; "
                "to make it the champion: mrigan models promote %s VERSION", uri, name, CANDIDATE, name)  # fmt: skip
            break
    return resolve(SHIPPED), SHIPPED


def _aliased(uri: str) -> Collection[tuple[str, str]]:
    """(name, alias) of all that have one."""
    known = aliased(uri)
    if known is not None:
        return known.keys()
    return {(version.name, alias) for version in list_models(uri) for alias in version.aliases}
