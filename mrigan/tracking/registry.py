"""The model registry: versions of `mrigan-face` and the other `NAMES`, with the aliases `candidate` and `champion`.

A model is a folder (model.json and safetensors). The registry stores it as an MLflow pyfunc *from code*: the script
`mrigan/detect/pyfunc.py` and a copy of the folder. It contains no pickle, and `mlflow.pyfunc` can load it.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mrigan import __version__
from mrigan.errors import ModelError
from mrigan.tracking.lookup import aliased
from mrigan.tracking.provenance import MODEL_PACKAGES, environment
from mrigan.tracking.store import (
    default_store,
    existing_run,
    experiment_id,
    first_line,
    open_store,
    store_errors,
    store_exists,
    tracking_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

NAMES = ("mrigan-face", "mrigan-mri", "mrigan-map")
SHIPPED, SHIPPED_FOLDER = "shipped", Path(__file__).parents[1] / "shipped"
CANDIDATE, CHAMPION = "candidate", "champion"
MODEL_FILE = "model.json"  # a folder with this file is a model
# A path, not an import: this room must not import `detect`.
SCRIPT = Path(__file__).parents[1] / "detect" / "pyfunc.py"


@dataclass(frozen=True)
class Version:
    """A registered version of a model."""

    name: str
    version: int
    aliases: tuple[str, ...]
    run_id: str | None
    created: float  # seconds since 1970
    tags: Mapping[str, str]


def register(
    folder: str | Path,
    name: str,
    run_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    *,
    uri: str = "",
    experiment: str = "mrigan",
) -> int:
    """Log the model folder as a pyfunc, register it as the next version of `name`, and make this the `candidate`.

    Args:
        folder: the folder with model.json and the safetensors; it is copied.
        run_id: the run that made the model.
        tags: of the version, stored as text.

    Returns:
        The version's number.

    Raises:
        ModelError: `folder` is not a model, or the registry cannot be used.
    """
    try:
        return register_version(open_store(uri), Path(folder), name, run_id, tags, experiment=experiment)
    except store_errors() as error:
        raise _unusable(error, uri) from error


def register_run(run: str | Path, uri: str = "") -> tuple[str, int]:
    """Register the model of a finished detector run, or a model folder, also if it is not better than chance.

    Returns:
        The registered name, such as `mrigan-face`, and the version, which is the `candidate`.

    Raises:
        ModelError: there is no model, it cannot be used, or the registry cannot be used.
    """
    from mrigan.models.bundle import load_bundle

    folder = resolve(run, uri)
    card = load_bundle(folder).card
    _refuse_links(folder, card.files)
    name, provenance = card.registered_name, card.provenance
    tags: dict[str, Any] = {key: provenance[key] for key in ("data_hash", "step") if key in provenance}
    try:
        client = open_store(uri)
        trained = provenance.get("mlflow_run_id")  # perhaps in another store
        known = isinstance(trained, str) and trained and existing_run(client, trained)
        return name, register_version(client, folder, name, trained if known else None, tags)
    except store_errors() as error:
        raise _unusable(error, uri) from error


def _refuse_links(folder: Path, listed: Collection[str]) -> None:
    """Raise ModelError for what must not be copied beside a model: a link, which may lead to a private file, a pipe or
    a device. A listed file may be a link: what it leads to is known by its checksum."""
    for path in sorted(folder.rglob("*")):
        known = path.parent == folder and path.name in (MODEL_FILE, *listed)
        if not known and (path.is_symlink() or not (path.is_file() or path.is_dir())):
            raise ModelError("the folder holds something that is no file, or a link", where=path, fix="remove it")


def register_version(
    client: MlflowClient,
    folder: Path,
    name: str,
    run_id: str | None,
    tags: Mapping[str, Any] | None = None,
    *,
    experiment: str = "mrigan",
) -> int:
    """As `register`, but with an open client, and raises the client's own errors (see `store_errors`).

    If this run has already registered a version with these tags, that version is returned: a job that was killed after
    the registration registers again when it is resumed.
    """
    if not (folder / MODEL_FILE).is_file():
        raise ModelError(f"no {MODEL_FILE} in the folder", where=folder, fix="give a model folder, such as RUN/model")
    texts = {key: str(value) for key, value in (tags or {}).items()}
    existing = _existing_version(client, name, run_id, texts)
    if existing:
        return existing
    experiment = client.get_run(run_id).info.experiment_id if run_id else experiment_id(client, experiment)
    with default_store(client.tracking_uri):
        return _register(client, folder, name, experiment, run_id, tags=texts)


def _existing_version(client: MlflowClient, name: str, run_id: str | None, tags: dict[str, str]) -> int:
    """The version of this run with these tags, 0 = none. Sets its alias, which may be missing after a kill."""
    if not run_id or not tags:
        return 0
    versions = client.search_model_versions(f"name = '{name}'")
    same = [int(v.version) for v in versions if v.run_id == run_id and dict(v.tags or {}) == tags]
    if same and max(same) == max(int(v.version) for v in versions):
        client.set_registered_model_alias(name, CANDIDATE, str(max(same)))
    return max(same, default=0)


def _register(
    client: MlflowClient, folder: Path, name: str, experiment: str, run_id: str | None, *, tags: dict[str, str]
) -> int:
    """Log the model in the experiment with this id, and register it as a version."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    logged = client.create_logged_model(experiment, name=name, source_run_id=run_id, tags=tags, model_type="detector")
    with tempfile.TemporaryDirectory(prefix="mrigan-model-") as scratch:
        packed = Path(scratch) / "packed"
        _pack(folder, packed, logged.model_id, run_id)
        client.log_model_artifacts(logged.model_id, str(packed))
    client.finalize_logged_model(logged.model_id, "READY")
    if run_id:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        name, f"models:/{logged.model_id}", run_id=run_id, tags=tags, model_id=logged.model_id
    ).version
    client.set_registered_model_alias(name, CANDIDATE, str(version))
    return int(version)


def _pack(folder: Path, packed: Path, model_id: str, run_id: str | None) -> None:
    """Write the MLflow model folder `packed`."""
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import ColSpec, DataType, Schema

    # The input has no schema: MLflow would allow only paths or only arrays; the script accepts and checks both.
    signature = ModelSignature(
        outputs=Schema(
            [
                ColSpec(DataType.string, "path"),
                ColSpec(DataType.string, "verdict"),
                ColSpec(DataType.double, "probability", required=False),
                ColSpec(DataType.double, "fraction", required=False),
                ColSpec(DataType.long, "faces"),
                ColSpec(DataType.string, "json"),
            ]
        ),
    )
    versions = environment()
    # Given explicitly: otherwise MLflow runs the model on an example to find its imports.
    requirements = [f"mrigan=={__version__}", *(f"{p}=={versions[p]}" for p in MODEL_PACKAGES if p in versions)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # MLflow asks for type hints
        pyfunc.save_model(
            path=str(packed),
            python_model=str(SCRIPT),
            artifacts={"model": str(folder)},
            signature=signature,
            input_example=pd.DataFrame({"path": ["video.mp4"]}),
            pip_requirements=requirements,
            mlflow_model=Model(model_uuid=model_id, model_id=model_id, run_id=run_id),
        )
    # MLflow writes a cloudpickle version and a path of this machine, and uses neither for a model from code.
    path = packed / "MLmodel"
    described = yaml.safe_load(path.read_text())
    flavor = described["flavors"]["python_function"]
    flavor.pop("cloudpickle_version", None)
    flavor["model_code_path"] = SCRIPT.name
    flavor["artifacts"]["model"]["uri"] = flavor["artifacts"]["model"]["path"]
    path.write_text(yaml.safe_dump(described, sort_keys=False))


def promote(name: str, version: int | str, uri: str = "") -> None:
    """Make a version the `champion` of its name: the model that `mrigan detect` uses by default.

    Raises:
        ModelError: no such name or version; the error lists the existing ones.
    """
    existing = list_models(uri)
    if not any(v.name == name and str(v.version) == str(version) for v in existing):
        versions = ", ".join(f"{v.name} {v.version}" for v in existing) or "none"
        what = f"the registry has no version {version} of {name}"
        raise ModelError(what, where=tracking_uri(uri), fix=f"registered versions: {versions}")
    try:
        open_store(uri).set_registered_model_alias(name, CHAMPION, str(version))
    except store_errors() as error:
        raise _unusable(error, uri) from error


def list_models(uri: str = "") -> list[Version]:
    """All registered versions, sorted by name, the newest first.

    Raises:
        ModelError: the registry cannot be used.
    """
    if not store_exists(tracking_uri(uri)):
        return []
    try:
        client = open_store(uri)
        versions = []
        for model in client.search_registered_models():
            for v in client.search_model_versions(f"name='{model.name}'"):
                aliases = sorted(alias for alias, of in (model.aliases or {}).items() if str(of) == str(v.version))
                created, tags = v.creation_timestamp / 1000, dict(v.tags or {})
                versions.append(Version(model.name, int(v.version), tuple(aliases), v.run_id or None, created, tags))
    except store_errors() as error:
        raise _unusable(error, uri) from error
    return sorted(versions, key=lambda v: (v.name, -v.version))


def resolve(ref: str | Path, uri: str = "") -> Path:
    """The local folder with model.json, for `models:/NAME@ALIAS`, `models:/NAME/N`, `runs:/ID/PATH`, a folder, or the
    word `shipped`, the model in the package.

    Raises:
        ModelError: no such model, or it is not a model.
    """
    text = str(ref)
    if text == SHIPPED:
        return SHIPPED_FOLDER
    local = _local_folder(text, uri)
    if local is not None:
        folder = local
    elif text.startswith(("models:/", "runs:/", "mlflow-artifacts:/")):
        import mlflow

        try:
            with default_store(open_store(uri).tracking_uri):
                folder = Path(mlflow.artifacts.download_artifacts(text))
        except store_errors() as error:
            raise ModelError(
                f"no model {text}: {first_line(error)}",
                where=tracking_uri(uri),
                fix="to list the models: mrigan models list",
            ) from error
    else:
        folder = Path(ref)
        if not folder.is_dir():
            raise ModelError(
                "no such model folder",
                where=folder,
                fix=f"give a folder with {MODEL_FILE}, or a model such as models:/mrigan-face@champion",
            )
    # An MLflow model has it in artifacts/, a run in model/.
    for file in sorted(
        [*folder.glob(MODEL_FILE), *folder.glob(f"model/{MODEL_FILE}"), *folder.glob(f"artifacts/*/{MODEL_FILE}")]
    ):
        return file.parent
    raise ModelError(
        f"the folder is not a model: it has no {MODEL_FILE}",
        where=folder,
        fix="give the model folder of a training, such as RUN/model",
    )


def _local_folder(ref: str, uri: str) -> Path | None:
    """The folder of a `models:/NAME@ALIAS` with artifacts on this machine, found without MLflow; else None."""
    name, _, alias = ref.removeprefix("models:/").partition("@")
    if not ref.startswith("models:/") or not alias:
        return None
    return (aliased(uri) or {}).get((name, alias))


def _unusable(error: Exception, uri: str) -> ModelError:
    return ModelError(
        f"the model registry cannot be used: {first_line(error)}",
        where=tracking_uri(uri),
        fix="check MLFLOW_TRACKING_URI, or run the command in the folder of mlflow.db",
    )
