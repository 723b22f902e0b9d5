"""The classifier's file: what it holds, and what is refused. scikit-learn's own pipeline is the oracle."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mrigan.errors import ModelError
from mrigan.pose.svm import PoseSvm


def data(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(count, 12)) * np.logspace(-3, 3, 12)
    return x, (x[:, 0] > 0).astype(int)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    (tmp_path / "pose.skops").write_bytes(PoseSvm.fit(*data()).dumps())
    return tmp_path / "pose.skops"


def test_it_is_a_scaler_and_an_svm(stored: Path) -> None:
    x, y = data()
    expected = make_pipeline(StandardScaler(), SVC(class_weight="balanced")).fit(x, y).decision_function(x)
    np.testing.assert_allclose(PoseSvm.load(stored).logits(x), expected, atol=1e-9)


def test_no_feature_no_answer(stored: Path) -> None:
    x, _ = data()
    x[3, 5] = np.nan
    logits = PoseSvm.load(stored).logits(x)
    assert np.flatnonzero(np.isnan(logits)).tolist() == [3]
    assert np.isnan(PoseSvm.load(stored).logits(x[3:4])).all()


@pytest.mark.parametrize("estimator", [
    RandomForestClassifier(2, random_state=0),  # skops itself trusts it
    SVC(),
    make_pipeline(StandardScaler(), SVC(kernel="linear")),
    make_pipeline(StandardScaler(), StandardScaler(), SVC()),
], ids=["forest", "no scaler", "linear", "three steps"])  # fmt: skip
def test_another_estimator_is_refused(tmp_path: Path, estimator: object) -> None:
    x, y = data()
    skops.io.dump(estimator.fit(x, y), tmp_path / "other.skops")  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="cannot be read"):
        PoseSvm.load(tmp_path / "other.skops")


@pytest.mark.parametrize("size", [11, 13])
def test_other_features_are_refused(tmp_path: Path, size: int) -> None:
    x, y = data()
    other = make_pipeline(StandardScaler(), SVC()).fit(np.resize(x, (60, size)), y)
    skops.io.dump(other, tmp_path / "other.skops")
    with pytest.raises(ModelError, match="finite numbers"):
        PoseSvm.load(tmp_path / "other.skops")


def edited(stored: Path, old: str, new: str) -> Path:
    """The file with another text in its schema."""
    path = stored.with_name("edited.skops")
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "schema.json":
                text = content.decode()
                assert old in text
                content = text.replace(old, new, 1).encode()
                json.loads(content)
            target.writestr(name, content)
    return path


@pytest.mark.parametrize(("old", "new", "why"), [
    ('"sklearn.svm._classes"', '"os"', "os"),
    ('"__loader__": "ObjectNode"', '"__loader__": "ReduceNode"', "ReduceNode"),
])  # fmt: skip
def test_code_is_refused_before_it_is_loaded(stored: Path, old: str, new: str, why: str,
                                             monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(skops.io, "loads", lambda *args, **kwargs: pytest.fail("it was loaded"))
    with pytest.raises(ModelError, match=f"it .*{why}.*no part of a classifier"):
        PoseSvm.load(edited(stored, old, new))


def test_numbers_that_contradict_one_another_are_refused(tmp_path: Path) -> None:
    """libsvm would read beyond its arrays."""
    for change in ({"_n_support": np.array([100_000, 100_000], np.int32)}, {"support_": np.zeros(1, np.int32)},
                   {"_dual_coef_": np.zeros((1, 1))}, {"_intercept_": np.array([np.nan])}):  # fmt: skip
        svm = PoseSvm.fit(*data())
        vars(svm.pipeline.steps[1][1]).update(change)
        (tmp_path / "wrong.skops").write_bytes(svm.dumps())
        with pytest.raises(ModelError, match=r"finite numbers|two classes"):
            PoseSvm.load(tmp_path / "wrong.skops")


def test_a_damaged_file_is_refused_or_is_the_same(stored: Path) -> None:
    whole, (x, _) = stored.read_bytes(), data()
    expected = PoseSvm.load(stored).logits(x)
    rng, refused = np.random.default_rng(0), 0
    for place in rng.integers(0, len(whole), 60):
        stored.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            np.testing.assert_array_equal(PoseSvm.load(stored).logits(x), expected)
        except ModelError:
            refused += 1
    assert refused > 20
    for damaged in (whole[: len(whole) // 2], b"", b"PK"):
        stored.write_bytes(damaged)
        with pytest.raises(ModelError, match="cannot be read"):
            PoseSvm.load(stored)
    with pytest.raises(ModelError, match="no such classifier"):
        PoseSvm.load(stored.with_name("absent.skops"))
