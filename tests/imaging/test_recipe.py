"""Which families are treated and how; what is drawn can be drawn again."""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from skimage.data import astronaut

from mrigan.config import MixConfig, RecipeConfig, ShardsConfig, load_config
from mrigan.errors import ConfigError
from mrigan.imaging.distraction import COLOURS, DIRECTIONS, SHAPES
from mrigan.imaging.methods import Die
from mrigan.imaging.recipe import check_recipe, draw_step, draw_treatment
from mrigan.imaging.treatment import METHODS, Treatment
from tests.imaging.records import treatment_of

FAMILIES = 20_000
PAPER = RecipeConfig(share=0.3, datasets=["dfdc"])


@pytest.fixture(scope="module")
def drawn() -> dict[str, Treatment]:
    every = {f"dfdc/original/-/{i}": draw_treatment(PAPER, 3, f"dfdc/original/-/{i}", "dfdc") for i in range(FAMILIES)}
    return {family: treatment for family, treatment in every.items() if treatment}


def steps(drawn: dict[str, Treatment], name: str) -> Iterator[dict[str, object]]:
    return (dict(step.settings) for treatment in drawn.values() for step in treatment.steps if step.name == name)


def test_the_shipped_recipe_is_the_papers() -> None:
    recipe = load_config(ShardsConfig, "shards/mri-df.yaml").recipe
    assert recipe == RecipeConfig(share=0.3, datasets=["dfdc"], detect_on="augmented")
    assert load_config(ShardsConfig, "shards/pairs.yaml").recipe.share == 0


def test_three_in_ten_families_in_the_published_mixture(drawn: dict[str, Treatment]) -> None:
    assert len(drawn) / FAMILIES == pytest.approx(0.3, abs=0.012)
    mix = Counter("+".join(step.kind for step in treatment.steps) for treatment in drawn.values())
    expected = {"distraction": 0.35, "distraction+noise": 0.35, "distraction+noise+augmentation": 0.15,
                "noise": 0.05, "augmentation+noise": 0.05, "augmentation": 0.05}  # fmt: skip
    assert set(mix) == set(expected)
    for kinds, share in expected.items():
        assert mix[kinds] / len(drawn) == pytest.approx(share, abs=0.022)  # 3.6 standard deviations


def test_all_methods_of_a_kind_are_equally_likely(drawn: dict[str, Treatment]) -> None:
    assert {kind: len(names) for kind, names in METHODS.items()} == {"noise": 7, "augmentation": 6, "distraction": 6}
    for kind, names in METHODS.items():
        counts = Counter(step.name for t in drawn.values() for step in t.steps if step.kind == kind)
        assert set(counts) == set(names)
        share = 1 / len(names)
        for name in names:
            deviation = (share * (1 - share) / counts.total()) ** 0.5
            assert counts[name] / counts.total() == pytest.approx(share, abs=4 * deviation)


def test_parameters_fill_their_ranges(drawn: dict[str, Treatment]) -> None:
    whole = {"blur": ("size", range(7, 13)), "contrast": ("value", range(-20, 21)),
             "brightness": ("value", range(-20, 21)), "rotation": ("degrees", range(-15, 16))}  # fmt: skip
    for name, (key, values) in whole.items():
        assert {settings[key] for settings in steps(drawn, name)} == set(values)
    sizes = {tuple(settings["size"]) for settings in steps(drawn, "rescale")}  # type: ignore[arg-type]
    assert sizes == {(800, 600), (1280, 720)}
    noises = {name: next(steps(drawn, name)) for name in METHODS["noise"]}
    assert noises == {
        "gaussian": {"variance": 0.01}, "speckle": {"variance": 0.01}, "localvar": {"variance": 0.01},
        "salt_and_pepper": {"amount": 0.05, "ratio": 0.5}, "salt": {"amount": 0.05}, "pepper": {"amount": 0.05},
        "poisson": {"levels": 256},
    }  # fmt: skip
    texts = [s for motion in ("static", "rolling", "spontaneous") for s in steps(drawn, f"{motion}_text")]
    assert {s["scale"] for s in texts} == set(range(1, 7))
    assert {s["thickness"] for s in texts} == {1, 2, 3}
    assert {len(str(s["text"])) for s in texts} == {8}
    assert set("".join(str(s["text"]) for s in texts)) == set(string.ascii_letters + string.digits)
    assert len({s["text"] for s in texts}) == len(texts)
    shapes = [s for motion in ("static", "rolling", "spontaneous") for s in steps(drawn, f"{motion}_shape")]
    assert {s["shape"] for s in shapes} == set(SHAPES)
    assert {s["size"] for s in shapes} == {0.005, 0.05, 0.08, 0.12}
    assert {s["colour"] for s in shapes} == {s["colour"] for s in texts} == set(COLOURS)
    assert {s["direction"] for s in steps(drawn, "rolling_text")} == set(DIRECTIONS)
    fractions = [float(str(s["fraction"])) for s in steps(drawn, "spontaneous_shape")]
    assert 0.1 <= min(fractions) < 0.11
    assert 0.49 < max(fractions) < 0.5


def test_what_was_drawn_can_be_drawn_again(drawn: dict[str, Treatment]) -> None:
    picture = np.ascontiguousarray(astronaut()[:120, 100:260])
    for family, treatment in list(drawn.items())[::40]:
        record = json.loads(json.dumps(treatment.record(30)))
        assert draw_treatment(PAPER, record["seed"], record["family"], "dfdc") == treatment
        again = treatment_of(record)
        assert again == treatment
        assert record["family"] == family
        out = treatment.apply(picture, 30)
        assert (again.apply(picture, record["frame"]) == out).all()
        assert out.shape[1::-1] == treatment.matrix((160, 120))[1]
    assert draw_treatment(PAPER, 4, family, "dfdc") != treatment  # another seed


def test_frames_differ_only_in_what_is_drawn_for_each() -> None:
    picture = np.ascontiguousarray(astronaut()[:120, 100:260])
    for kind, names in METHODS.items():
        for name in names:
            treatment = Treatment(0, "a", (draw_step(kind, name, Die(0, "a")),))
            other = Treatment(0, "b", treatment.steps)
            same = (treatment.apply(picture, 3) == treatment.apply(picture, 4)).all()
            if kind != "distraction":  # two frames may both be without a spontaneous one
                assert same == (kind == "augmentation"), name
            if kind == "noise":
                assert (treatment.apply(picture, 3) != other.apply(picture, 3)).any()
                assert (treatment.apply(picture, 3) == treatment.apply(picture, 3)).all()


def test_faces_move_with_all_steps() -> None:
    record = {"seed": 0, "family": "f", "steps": [
        {"kind": "augmentation", "name": "flip"}, {"kind": "noise", "name": "salt", "amount": 0.05},
        {"kind": "augmentation", "name": "rescale", "size": [800, 600]}]}  # fmt: skip
    points = (40, 60), (80, 60), (60, 80), (45, 110), (75, 110)
    moved = treatment_of(record).move((10, 20, 110, 140), points, (400, 300))
    assert moved is not None
    assert moved[0] == pytest.approx((2 * 290, 40, 2 * 390, 280))
    assert moved[1][0] == pytest.approx((2 * (400 - 80), 120))


def test_others_are_not_touched() -> None:
    families = [f"f{i}" for i in range(200)]
    assert not any(draw_treatment(PAPER, 0, family, "celeb-df-v2") for family in families)
    assert not any(draw_treatment(RecipeConfig(), 0, family, "dfdc") for family in families)
    assert all(draw_treatment(RecipeConfig(share=1), 0, family, "anything") for family in families)
    only = RecipeConfig(share=1, mix=MixConfig(0, 0, 0, 1, 0, 0))
    assert all(draw_treatment(only, 0, f, "x").steps[0].kind == "noise" for f in families)  # type: ignore[union-attr]


def test_probabilities_that_are_none_are_refused() -> None:
    check_recipe(PAPER, {"dfdc", "ffhq"})
    check_recipe(RecipeConfig(), {"ffhq"})
    with pytest.raises(ConfigError, match="1\\.5 of the families"):
        check_recipe(RecipeConfig(share=1.5), {"dfdc"})
    with pytest.raises(ConfigError, match="make 1\\.15"):
        check_recipe(RecipeConfig(mix=MixConfig(noise=0.2)), {"dfdc"})
    with pytest.raises(ConfigError, match="no clip is of dfcd"):
        check_recipe(RecipeConfig(share=0.3, datasets=["dfcd"]), {"dfdc"})
