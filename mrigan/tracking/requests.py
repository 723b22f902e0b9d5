"""The requests to MLflow that copy a run."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrigan.errors import ModelError
from mrigan.tracking.registry import register_version
from mrigan.tracking.store import experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

# MLflow's limits: params or tags in one request, and numbers of characters
MAX_BATCH, KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH, DATASET_LENGTH, DIGEST_LENGTH = 100, 250, 6000, 8000, 500, 36
TOKEN = "mrigan.token"  # a tag of the run that identifies its creation
# MLflow's error codes that mean that the content is wrong: another attempt would not help.
REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE", "MALFORMED_REQUEST")


def is_refusal(error: Exception) -> bool:
    """Whether MLflow will refuse the same request again."""
    return isinstance(error, ModelError) or getattr(error, "error_code", "") in REFUSED


def find_or_create_run(client: MlflowClient, experiment: str, name: str, token: str, started: int) -> Any:
    """The run with this token, which an attempt without an answer may have created, or a new one.

    Args:
        started: ms since 1970.
    """
    number = experiment_id(client, experiment)
    runs = client.search_runs([number], f"tags.`{TOKEN}` = '{token}'", order_by=["start_time"])
    return runs[0] if runs else client.create_run(number, start_time=started, tags={TOKEN: token}, run_name=name)


def log_row(client: MlflowClient, run_id: str, row: Mapping[str, Any], folder: Path, params: dict[str, str]) -> None:
    """Log a line of tracking.jsonl.

    Args:
        folder: where relative paths start.
        params: that the run has, which cannot be changed; the new ones are added.
    """
    from mlflow.entities import Param, RunTag

    kind = row["kind"]
    if kind == "params":
        values = {key[:KEY_LENGTH]: value[:PARAM_LENGTH] for key, value in row["params"].items()}
        new = [Param(key, value) for key, value in values.items() if key not in params]
        for start in range(0, len(new), MAX_BATCH):
            client.log_batch(run_id, params=new[start : start + MAX_BATCH])
        params |= values
    elif kind == "tags":
        tags = [RunTag(key[:KEY_LENGTH], value[:TAG_LENGTH]) for key, value in row["tags"].items()]
        for start in range(0, len(tags), MAX_BATCH):
            client.log_batch(run_id, tags=tags[start : start + MAX_BATCH])
    elif kind == "artifact":
        path = folder / row["path"]
        if path.is_dir():
            client.log_artifacts(run_id, str(path), "/".join(filter(None, (row["folder"], path.name))))
        elif path.is_file():
            client.log_artifact(run_id, str(path), row["folder"] or None)
        else:
            log.warning("%s does not exist any more, so it is not sent to MLflow", path)
    elif kind == "dataset":
        client.log_inputs(run_id, datasets=[_dataset_input(row)])
    elif kind == "model":
        version = register_version(client, folder / row["path"], row["name"], run_id, row["tags"])
        log.info("registered as %s version %d, candidate", row["name"], version)
    elif row["status"] == "RUNNING":
        client.update_run(run_id, status="RUNNING")
    else:
        client.set_terminated(run_id, row["status"], int(row["time"] * 1000))


def _dataset_input(row: Mapping[str, Any]) -> Any:
    """A data set in MLflow's types."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source, profile = json.dumps({"uri": row["source"]}), json.dumps(row["profile"])
    name, digest = row["name"][:DATASET_LENGTH], row["digest"][:DIGEST_LENGTH]
    dataset = Dataset(name, digest, source_type="local", source=source, profile=profile)
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", row["context"])])
