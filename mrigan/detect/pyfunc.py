"""The model as MLflow loads it, from this very file: `mlflow.pyfunc.load_model(uri).predict(paths or faces)`.

MLflow copies the script beside the model and runs it there, so it imports Mrigan by its full name, and only when used.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from mrigan.detect import Model
from mrigan.detect.model import literal_input

COLUMNS = ("path", "face")  # of a table, what it may hold


class VerdictModel(PythonModel):
    """Paths of videos or pictures in, one row of verdict a path out; or faces in, one row of probability a face out."""

    def load_context(self, context: Any) -> None:
        """Read the model folder that travels with the script."""
        from mrigan.models.bundle import load_bundle

        self.model = Model(load_bundle(context.artifacts["model"]), "given")

    # MLflow warns of any other type, and passes on whatever is given.
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Judge each path, or score each face.

        Args:
            model_input: a table with a column `path`, a list of paths, or one path. Each is the name of one file: no
                folders, no patterns and no lists. Or an array (N, H, W, 3), 0…255, a list of arrays (H, W, 3), or a
                table with a column `face` of such arrays: RGB faces that are cut out already.

        Returns:
            Of paths a table path, verdict, probability, fraction, faces (number), json (the whole verdict); of faces
            a table with the column prob, 0 (real) to 1 (fake).
        """
        given = _values(model_input)
        if all(isinstance(value, str) for value in given):
            return self._verdicts([str(path) for path in given])
        return pd.DataFrame({"prob": self.model.predict([_bytes(face) for face in given]).astype(float)})

    def _verdicts(self, paths: list[str]) -> pd.DataFrame:
        rows = [
            {
                "path": v.path,
                "verdict": v.verdict,
                "probability": v.probability,
                "fraction": v.fraction,
                "faces": len(v.faces),
                "json": json.dumps(v.to_json()),
            }
            for v in self.model.judge([literal_input(path) for path in paths])
        ]
        return pd.DataFrame(rows, columns=["path", "verdict", "probability", "fraction", "faces", "json"])


def _values(model_input: Any) -> list[Any]:
    """Paths or faces, one by one."""
    if isinstance(model_input, str):
        return [model_input]
    if isinstance(model_input, pd.DataFrame):
        column = next((name for name in COLUMNS if name in model_input.columns), model_input.columns[0])
        return list(model_input[column])
    if isinstance(model_input, np.ndarray) and model_input.ndim == 3 and model_input.dtype.kind in "iuf":
        return [model_input]
    return list(model_input)


def _bytes(face: Any) -> Any:
    """Whole numbers from 0 to 255 as uint8, however a server sent them; anything else as it is, to be refused."""
    if isinstance(face, str):
        return face
    values = np.asarray(face)
    if values.dtype.kind in "iu" and values.size and values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    return values


set_model(VerdictModel())
