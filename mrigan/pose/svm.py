"""The classifier of pose features: StandardScaler and an SVM, stored by skops without a pickle."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrigan.errors import ModelError
from mrigan.pose.head_pose import FEATURE
from mrigan.regular import open_regular

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

MAX_BYTES = 256 << 20  # of a file, also unpacked; a support vector has 100
# Everything that a stored classifier consists of. skops itself trusts much more.
TRUSTED_TYPES = frozenset({
    "sklearn.pipeline.Pipeline", "sklearn.preprocessing._data.StandardScaler", "sklearn.svm._classes.SVC",
    "builtins.dict", "builtins.list", "builtins.tuple", "builtins.str", "builtins.int", "builtins.float",
    "builtins.bool", "builtins.NoneType", "numpy.ndarray", "numpy.float64", "numpy.int64", "numpy.int32",
})  # fmt: skip
TRUSTED_LOADERS = frozenset({"ObjectNode", "DictNode", "ListNode", "TupleNode", "JsonNode", "NdArrayNode", "TypeNode"})
# What zipfile, skops, NumPy and scikit-learn raise for a damaged file
_DAMAGED = (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, NotImplementedError,
            EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)  # fmt: skip
_AGAIN = "give the folder `model/` of a finished `mrigan train pose`"


class PoseSvm:
    """Tells fakes by their pose features.

    Args:
        pipeline: a fitted StandardScaler and SVC of classes 0 (real) and 1 (fake).
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    @classmethod
    def fit(cls, features: ArrayLike, labels: ArrayLike, C: float = 1.0, seed: int = 0) -> PoseSvm:
        """Train on (N, 12) features without NaN and (N,) labels, 1 = fake. Real and fake faces weigh alike.

        Args:
            C: the SVM's penalty of errors.
        """
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        svc = SVC(C=C, class_weight="balanced", random_state=seed)
        return cls(make_pipeline(StandardScaler(), svc).fit(np.asarray(features), np.asarray(labels, np.int64)))

    def logits(self, features: ArrayLike) -> NDArray[np.float64]:
        """(N,) decision values, above 0 = fake; NaN where a feature is NaN: no answer."""
        x = np.asarray(features, np.float64)
        answered = np.isfinite(x).all(axis=1)
        logits = np.full(len(x), np.nan)
        if answered.any():
            logits[answered] = self.pipeline.decision_function(x[answered])
        return logits

    def dumps(self) -> bytes:
        """The file that `load` reads."""
        from skops.io import dumps

        return dumps(self.pipeline)

    @classmethod
    def load(cls, path: str | Path, sha256: str = "") -> PoseSvm:
        """Read a stored classifier. Nothing in it is executed.

        Args:
            sha256: of the file's bytes; "" = any.

        Raises:
            ModelError: it is missing, damaged, holds other types than `TRUSTED_TYPES`, or is no classifier of pose
                features.
        """
        try:
            with open_regular(path, MAX_BYTES) as file:
                data = file.read()
            if sha256 and hashlib.sha256(data).hexdigest() != sha256:
                raise ValueError("it is not the file that model.json was written for: damaged, or replaced")
            _check_types(data)
            from skops.io import loads

            pipeline = loads(data, trusted=[])
            _check_numbers(pipeline)
        except FileNotFoundError:
            raise ModelError("no such classifier", where=path, fix=_AGAIN) from None
        except _DAMAGED as error:
            said = str(error).partition("\n")[0] or type(error).__name__
            raise ModelError(f"the classifier cannot be read: {said}", where=path, fix=_AGAIN) from None
        return cls(pipeline)


def _check_types(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(item.file_size for item in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"unpacked it has more than {MAX_BYTES:,} bytes")
        nodes = list(_nodes(json.loads(archive.read("schema.json"))))
    types = {f"{node.get('__module__')}.{node.get('__class__')}" for node in nodes}
    if foreign := sorted(types - TRUSTED_TYPES):
        raise ValueError(f"it holds {foreign[0]:.100}, which is no part of a classifier of poses")
    if foreign := sorted({str(node.get("__loader__")) for node in nodes} - TRUSTED_LOADERS):
        raise ValueError(f"it is to be loaded as {foreign[0]:.100}, which is no part of a classifier of poses")


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """All objects of a schema, at any depth."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "__class__" in item or "__loader__" in item:
                yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _check_numbers(pipeline: Any) -> None:
    """libsvm trusts its arrays: sizes that contradict one another would make it read foreign memory."""
    scaler, svc = (step for _, step in pipeline.steps)
    if (type(scaler).__name__, type(svc).__name__) != ("StandardScaler", "SVC"):
        raise ValueError("it is not a StandardScaler and an SVC")
    vectors = svc.support_vectors_
    count = len(vectors)
    sizes = {
        "mean": (scaler.mean_, (FEATURE,)),
        "scale": (scaler.scale_, (FEATURE,)),
        "support vectors": (vectors, (count, FEATURE)),
        "support": (svc.support_, (count,)),
        "dual coefficients": (svc._dual_coef_, (1, count)),
        "intercept": (svc._intercept_, (1,)),
        "numbers of vectors": (svc._n_support, (2,)),
        "classes": (svc.classes_, (2,)),
    }
    for name, (array, shape) in sizes.items():
        if not isinstance(array, np.ndarray) or array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"its {name} are not {shape} finite numbers")
    if svc._n_support.sum() != count or (svc._n_support < 0).any() or svc.classes_.tolist() != [0, 1]:
        raise ValueError("its support vectors are not of two classes")
    if svc.kernel != "rbf" or svc._sparse or svc.probability not in (False, "deprecated"):
        raise ValueError("its SVC is not one with a Gaussian kernel")
