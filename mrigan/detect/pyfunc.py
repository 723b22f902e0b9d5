"""The model as MLflow loads it, from this very file: `mlflow.pyfunc.load_model(uri).predict(table with a column path)`.

MLflow copies the script beside the model and runs it there, so it imports Mrigan by its full name, and only when used.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class VerdictModel(PythonModel):
    """Paths of videos or pictures in, one row of verdict a path out."""

    def load_context(self, context: Any) -> None:
        """Read the model folder that travels with the script."""
        from mrigan.models.bundle import load_bundle

        self.bundle = load_bundle(context.artifacts["model"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Judge each path.

        Args:
            model_input: a table with a column `path`, a list of paths, or one path.

        Returns:
            A table: path, verdict, probability, fraction, faces (number), json (the whole verdict).
        """
        from mrigan.detect import detect_paths

        verdicts = detect_paths(_paths(model_input), self.bundle)
        rows = [
            {
                "path": v["path"],
                "verdict": v["verdict"],
                "probability": v["probability"],
                "fraction": v["fraction"],
                "faces": len(v["faces"]),
                "json": json.dumps(v),
            }
            for v in verdicts
        ]
        return pd.DataFrame(rows, columns=["path", "verdict", "probability", "fraction", "faces", "json"])


def _paths(model_input: Any) -> list[str]:
    if isinstance(model_input, str):
        return [model_input]
    if isinstance(model_input, pd.DataFrame):
        column = "path" if "path" in model_input.columns else model_input.columns[0]
        return [str(path) for path in model_input[column]]
    return [str(path) for path in model_input]


set_model(VerdictModel())
