"""One MLflow run a job. A training never dies of its tracking: what MLflow does not take is said once, and left out."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mrigan import __version__
from mrigan.config import TrackingConfig, flatten
from mrigan.tracking.provenance import code_version, environment
from mrigan.tracking.store import experiment_id, open_store, store_errors, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

BATCH = 100  # params or tags in one request (MLflow's limit)
KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH = 250, 6000, 8000  # characters (MLflow's limits)
GIVE_UP = 3  # failed requests in a row, after which nothing more is sent


class Run:
    """A job's run in MLflow, used by global rank 0 alone. Disabled, or with the store out of reach, it does nothing.

    Attributes:
        id: MLflow's run id, kept in checkpoints so that a resumed job continues the run; None where nothing is tracked.
        uri: the store.
    """

    def __init__(self, client: MlflowClient | None, run_id: str | None, uri: str = "") -> None:
        self._client, self.id, self.uri = client, run_id, uri
        self._failures = 0

    @classmethod
    def start(
        cls,
        config: TrackingConfig,
        run_name: str,
        run_id: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> Run:
        """Open a new run, or continue `run_id`; where the store has no such run (any more), a new one with a warning.

        Args:
            config: `enabled: false` gives a run that does nothing.
            run_name: shown in MLflow.
            params: the resolved config, nested or flat. MLflow gets it as params, and whole as `config.json`.
            tags: for instance `data_hash`. Code version, Mrigan's version and the environment are added.
        """
        if not config.enabled:
            return cls(None, None)
        uri = tracking_uri(config.uri)
        try:
            client = open_store(uri)
            found = _existing(client, run_id) if run_id else None
            if found is None:
                if run_id:
                    log.warning("MLflow has no run %s in %s: a new run is started", run_id, uri)
                found = client.create_run(experiment_id(client, config.experiment), run_name=run_name)
            else:
                client.update_run(found.info.run_id, status="RUNNING")
        except store_errors() as error:
            log.warning(
                "MLflow cannot be used (%s: %s): this job goes on without it. To do: check tracking.uri or "
                "MLFLOW_TRACKING_URI, or set tracking.enabled=false",
                uri,
                _first_line(error),
            )
            return cls(None, None, uri)
        run = cls(client, found.info.run_id, uri)
        run.log_params(params or {}, known=found.data.params)
        run.set_tags({"mrigan.version": __version__, "code_version": code_version(), **(tags or {})})
        if params:
            run.log_json(dict(params), "config.json")
        run.log_json(environment(), "environment.json")
        return run

    @property
    def active(self) -> bool:
        """Whether anything is being tracked."""
        return self._client is not None

    def log_params(self, params: Mapping[str, Any], known: Mapping[str, str] | None = None) -> None:
        """Log a config, nested or flat; keys in `known` were logged before (MLflow lets no param be changed)."""
        param = self._entity("Param")
        if param is None:
            return
        flat = {key[:KEY_LENGTH]: str(value)[:PARAM_LENGTH] for key, value in flatten(dict(params)).items()}
        new = [param(key, value) for key, value in flat.items() if key not in (known or {})]
        for first in range(0, len(new), BATCH):
            self._send("params", "log_batch", params=new[first : first + BATCH])

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; a value may change."""
        tag = self._entity("RunTag")
        if tag is None:
            return
        all_tags = [tag(key[:KEY_LENGTH], str(value)[:TAG_LENGTH]) for key, value in tags.items()]
        for first in range(0, len(all_tags), BATCH):
            self._send("tags", "log_batch", tags=all_tags[first : first + BATCH])

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log numbers of one step in one request. NaN is kept; an infinite value becomes the largest float."""
        metric = self._entity("Metric")
        if metric is None or not metrics:
            return
        now = int(time.time() * 1000)
        batch = [metric(key[:KEY_LENGTH], _storable(value), now, step) for key, value in metrics.items()]
        self._send("metrics", "log_batch", metrics=batch)

    def log_artifact(self, path: str | Path, folder: str = "") -> None:
        """Keep a file, or a folder with all that is in it, under `folder` of the run's artifacts."""
        path = Path(path)
        if path.is_dir():
            target = f"{folder}/{path.name}" if folder else path.name
            self._send(f"folder {path.name}", "log_artifacts", str(path), target)
        else:
            self._send(f"file {path.name}", "log_artifact", str(path), folder or None)

    def log_figure(self, figure: Any, name: str) -> None:
        """Keep a Matplotlib figure, a PIL picture or an (H, W, 3) uint8 array as the artifact `name` (`a/b.png`)."""
        if hasattr(figure, "savefig"):
            self._send(f"figure {name}", "log_figure", figure, name)
        else:
            self._send(f"picture {name}", "log_image", figure, name)

    def log_json(self, data: Any, name: str) -> None:
        """Keep plain data as the JSON artifact `name`."""
        text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
        self._send(name, "log_text", text, name)

    def close(self, status: str = "FINISHED") -> None:
        """End the run: FINISHED, FAILED, or KILLED (a job that was stopped and will be resumed)."""
        self._send("the end of the run", "set_terminated", status)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        stopped = kind is not None and not issubclass(kind, Exception)  # Ctrl-C, SystemExit
        self.close("KILLED" if stopped else "FAILED" if kind else "FINISHED")

    def _entity(self, name: str) -> Any:
        if self._client is None:
            return None
        from mlflow import entities

        return getattr(entities, name)

    def _send(self, what: str, method: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of the client on this run; what fails is said, never raised."""
        if self._client is None or self.id is None:
            return
        try:
            getattr(self._client, method)(self.id, *args, **kwargs)
        except store_errors() as error:
            self._failures += 1
            log.warning("MLflow did not take %s: %s", what, _first_line(error))
            if self._failures == GIVE_UP:
                log.warning("MLflow failed %d times in a row (%s): this job goes on without it", GIVE_UP, self.uri)
                self._client = None
        else:
            self._failures = 0


def _existing(client: MlflowClient, run_id: str) -> Any:
    """The run, or None where the store has none of this id, or has it in the bin."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def _storable(value: float) -> float:
    value = float(value)
    return math.copysign(1.7976931348623157e308, value) if math.isinf(value) else value


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
