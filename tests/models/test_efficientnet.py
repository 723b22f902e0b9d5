"""The networks defined here are timm's: the same names of weights, the same features."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch

from mrigan.models.bundle import load_bundle, save_bundle
from mrigan.models.detector import Detector
from mrigan.models.efficientnet import SCALES, EfficientNet, is_defined

THRESHOLDS = {"frame": 0.5, "fraction": 0.3}


def random_norms(network: torch.nn.Module) -> torch.nn.Module:
    """Norms as after a training: not those of the start, which hide a wrong epsilon or order."""
    draw = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=draw)
            module.running_var.uniform_(0.01, 1.5, generator=draw)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5, generator=draw)
            torch.nn.init.normal_(module.bias, 0, 0.2, generator=draw)
    return network.eval()


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "efficientnet_lite2", "tf_efficientnet_b0.ns_jft_in1k",
                                  "efficientnet_b1", "tf_efficientnet_b3"])  # fmt: skip
@torch.inference_mode()
def test_features_are_those_of_timm(name: str) -> None:
    theirs = random_norms(timm.create_model(name, num_classes=0))
    ours = EfficientNet(name).eval()
    ours.load_state_dict(theirs.state_dict())
    assert ours.head_hidden_size == theirs.head_hidden_size
    for height, width in ((128, 128), (77, 90)):
        x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    last, stages = theirs.forward_intermediates(x)
    own_last, own_stages = ours.forward_intermediates(x)
    for own, their in zip([own_last, *own_stages], [last, *stages], strict=True):
        torch.testing.assert_close(own, their, rtol=1e-5, atol=1e-5 * float(their.abs().max()))
    assert ours.feature_info == [{key: stage[key] for key in ("num_chs", "reduction")} for stage in theirs.feature_info]


@pytest.mark.parametrize("prefix", ["", "tf_"])
@pytest.mark.parametrize("kind", SCALES)
def test_every_name_has_the_weights_of_timm(prefix: str, kind: str) -> None:
    name = f"{prefix}efficientnet_{kind}"
    assert is_defined(name)
    with torch.device("meta"):
        theirs, ours = timm.create_model(name, num_classes=0), EfficientNet(name)
    shapes = {key: tensor.shape for key, tensor in ours.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    strides = {key: (m.stride, m.kernel_size) for key, m in theirs.named_modules() if isinstance(m, torch.nn.Conv2d)}
    assert strides == {key: (m.stride, m.kernel_size) for key, m in ours.named_modules()
                       if isinstance(m, torch.nn.Conv2d)}  # fmt: skip


@pytest.mark.parametrize("name", ["efficientnet_b9", "tf_efficientnet_em", "efficientnetv2_s", "resnet18", "x/b0", ""])
def test_other_names_are_left_to_timm(name: str) -> None:
    assert not is_defined(name)


def test_a_model_is_loaded_without_timm_and_scores_as_with_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    detector = Detector("tf_efficientnet_lite0", size=64).eval()
    random_norms(detector.backbone)
    folder = save_bundle(tmp_path / "model", detector, faces={}, thresholds=THRESHOLDS)
    code = (
        "import json, sys, torch\n"
        "from mrigan.models.bundle import load_bundle\n"
        f"bundle = load_bundle({str(folder)!r})\n"
        "x = (torch.arange(3 * 70 * 70).view(1, 3, 70, 70) * 7919 % 256).to(torch.uint8)\n"
        "print(json.dumps([bundle.score(x).tolist(), 'timm' in sys.modules, 'torchvision' in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    (score,), timm_there, torchvision_there = json.loads(done.stdout)
    assert not timm_there
    assert not torchvision_there
    x = (torch.arange(3 * 70 * 70).view(1, 3, 70, 70) * 7919 % 256).to(torch.uint8)
    with torch.inference_mode():
        assert score == pytest.approx(detector(x.float() / 255).item(), abs=1e-4)
    again = load_bundle(folder)
    assert save_bundle(tmp_path / "again", again.detector, faces={}, thresholds=THRESHOLDS)
    assert (folder / "detector.safetensors").read_bytes() == (tmp_path / "again/detector.safetensors").read_bytes()


def test_a_model_of_another_family_is_loaded_by_timm(tmp_path: Path) -> None:
    detector = Detector("test_efficientnet.r160_in1k", size=64).eval()
    folder = save_bundle(tmp_path / "model", detector, faces={}, thresholds=THRESHOLDS)
    x = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    with torch.inference_mode():
        assert load_bundle(folder).score(x).item() == pytest.approx(detector(x.float()).item(), abs=1e-4)
