"""A detector that draws MRIs: the same verdict whoever calls it, and a map in its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch

from mrigan.errors import ModelError
from mrigan.models import Detector, MapDetector, load_bundle, save_bundle
from mrigan.models.map_detector import Decoder
from mrigan.training.map import build_map_detector
from tests.models.test_efficientnet import random_norms
from tests.training.runs import map_config

THRESHOLDS = {"frame": 0.5, "fraction": 0.3}


def faces(n: int, size: int = 70) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(n)).to(torch.uint8)


@pytest.mark.parametrize(("backbone", "size", "levels", "side"), [
    ("tf_efficientnet_lite0", 64, 4, 16), ("test_efficientnet.r160_in1k", 100, 5, 50),
    ("test_resnet.r160_in1k", 96, 3, 12), ("test_convnext.r160_in1k", 64, 4, 16), ("test_vit.r160_in1k", 160, 3, 40),
])  # fmt: skip
def test_every_backbone_draws_at_the_size_that_its_decoder_has(
    backbone: str, size: int, levels: int, side: int
) -> None:
    torch.manual_seed(0)
    network = MapDetector(backbone, size=size, decoder=[8] * levels, drop_path=0.0).eval()
    with torch.inference_mode():
        logits, mri = network(torch.rand(2, 3, 80, 80))
        assert (logits.shape, mri.shape, network.mri(mri).shape) == ((2,), (2, 3, side, side), (2, 3, size, size))
        assert torch.equal(network.judge(network.embed(torch.ones(1, 3, 80, 80))), network(torch.ones(1, 3, 80, 80))[0])


def test_pooled_features_and_the_pooled_mri_make_the_logit() -> None:
    torch.manual_seed(0)
    network = MapDetector("tf_efficientnet_lite0", size=64, hidden=5, decoder=[8, 6, 4]).eval()
    random_norms(network.backbone)
    plain = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    plain.load_state_dict(network.backbone.state_dict())
    x = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        logits, mri = network(x)
        features = plain((x - network.mean) / network.std)
        pooled = torch.stack([mri.flatten(1).mean(1), mri.flatten(1).max(1).values], 1)
        hidden = torch.cat([features, pooled], 1) @ network.head[0].weight.T + network.head[0].bias
        expected = hidden.relu() @ network.head[3].weight[0] + network.head[3].bias
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_a_skip_is_added_where_its_features_lie() -> None:
    """A single bright place in the finest features shows in that place of the map, and nowhere far from it."""
    torch.manual_seed(0)
    decoder = Decoder([(4, 2), (5, 4), (6, 8)], [3, 3, 3]).eval()
    stages = [torch.zeros(1, 4, 32, 32), torch.zeros(1, 5, 16, 16), torch.zeros(1, 6, 8, 8)]
    with torch.inference_mode():
        black = decoder(stages)
        stages[0][..., 20, 5] = 100
        changed = (decoder(stages) - black).abs().amax((0, 1)) > 0
    ys, xs = torch.nonzero(changed, as_tuple=True)
    assert black.shape == (1, 3, 32, 32)
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (19, 21, 4, 6)


def test_a_bundle_draws_what_its_detector_draws(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = MapDetector("tf_efficientnet_lite0", size=64, decoder=[8, 6]).eval()
    random_norms(network.backbone)
    bundle = load_bundle(save_bundle(tmp_path / "model", network, faces={}, thresholds=THRESHOLDS))
    assert bundle.draws_mris
    assert bundle.card.registered_name == "mrigan-map"
    x = faces(11)
    with torch.inference_mode():
        logits, mri = network(x.float() / 255)
        expected = torch.nn.functional.interpolate(mri, (64, 64), mode="bilinear").sigmoid()
    probs, mris = bundle.predict(x, batch_size=4)
    torch.testing.assert_close(probs, logits.sigmoid(), rtol=1e-4, atol=1e-5)
    assert mris is not None
    assert (mris.float() / 255 - expected).abs().max() < 0.6 / 255
    scores, means = bundle.score_with_mri(x)
    torch.testing.assert_close(scores, logits, rtol=1e-4, atol=1e-4)
    assert means is not None
    torch.testing.assert_close(means, expected.mean((1, 2, 3)), rtol=0, atol=0.6 / 255)
    assert torch.equal(scores, bundle.score(x))
    none, no_mris = bundle.predict(faces(0))
    assert no_mris is not None
    assert (none.shape, no_mris.shape) == ((0,), (0, 3, 64, 64))


def test_a_plain_detector_has_no_mris(tmp_path: Path) -> None:
    detector = Detector("test_efficientnet.r160_in1k", size=64).eval()
    bundle = load_bundle(save_bundle(tmp_path / "model", detector, faces={}, thresholds=THRESHOLDS))
    assert not bundle.draws_mris
    assert bundle.score_with_mri(faces(3))[1] is None
    assert bundle.predict(faces(3))[1] is None


@pytest.mark.parametrize("decoder", [[], [0], [4097], [8] * 7, ["8"], [8, 6, 5]])
def test_another_decoder_than_that_of_the_weights_is_refused(decoder: list, tmp_path: Path) -> None:
    network = MapDetector("test_efficientnet.r160_in1k", size=64, decoder=[8, 6])
    folder = save_bundle(tmp_path / "model", network, faces={}, thresholds=THRESHOLDS)
    changed = json.loads((folder / "model.json").read_text())
    changed["detector"]["decoder"] = decoder
    (folder / "model.json").write_text(json.dumps(changed))
    with pytest.raises(ModelError):
        load_bundle(folder)


def test_a_new_network_draws_black_and_starts_from_the_seed(tmp_path: Path) -> None:
    config = map_config(tmp_path, tmp_path / "run")
    one, other = build_map_detector(config).eval(), build_map_detector(config).eval()
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    with torch.inference_mode():
        assert one.mri(one(torch.rand(2, 3, 64, 64))[1]).mean() == pytest.approx(0.047, abs=0.03)  # sigmoid(-3)
