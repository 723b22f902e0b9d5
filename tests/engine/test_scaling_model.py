"""The model on paper of many GPUs (benchmarks/scaling.py): counts against autograd's, times against arithmetic."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mrigan.config import GanConfig
from mrigan.training.gan import build_networks
from tests.conftest import ROOT

PAGE = ROOT / "benchmarks" / "scaling.py"


@pytest.fixture(scope="module")
def scaling() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scaling", PAGE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scaling"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def counted(scaling: ModuleType) -> Any:
    return scaling.count()


def test_counts(counted: Any) -> None:
    """The operations that autograd really does, forward and backward, in the order of `gan_step`."""
    with FakeTensorMode(), FlopCounterMode(display=False) as counter:
        networks = build_networks(GanConfig())
        G, D = networks["generator"], networks["discriminator"]
        face, mri = torch.empty(2, 1, 3, 256, 256).unbind(0)
        for parameter in D.parameters():
            parameter.requires_grad_(False)
        predicted = G(face)
        D(predicted, face).sum().backward()
        sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
        for name, parameter in D.named_parameters():
            parameter.requires_grad_("bias" not in name or "head" in name or "down.0" in name)
        D(torch.cat([mri, predicted.detach()]), torch.cat([face, face])).sum().backward()
    assert counted.flops == pytest.approx(counter.get_total_flops(), rel=1e-3)
    assert counted.flops == pytest.approx(64.0e9, rel=1e-3)
    assert counted.gradients()["generator"] == 4 * sizes["generator"]
    assert 0 < 4 * sizes["discriminator"] - counted.gradients()["discriminator"] < 4096  # biases that are not trained


def test_times(scaling: ModuleType, counted: Any) -> None:
    machine = scaling.Machine(achieved=1.0, base=0, hop=0, net_hop=0)
    assert scaling.ring(450e9, 8, machine) == pytest.approx(2 * 7 / 8)  # seconds
    assert scaling.ring(50e9, 64, dataclasses.replace(machine, nics=1)) == pytest.approx(2 * 63 / 64)
    assert scaling.ring(1e9, 1, machine) == 0
    alone = scaling.step(counted, 32, 1, scaling.Machine())
    assert alone["step"] == alone["compute"] == pytest.approx(32 * counted.flops / (989.4e12 * 0.4))
    perfect = scaling.step(counted, 32, 64, dataclasses.replace(machine, nvlink=1e9, nics=10**9))
    assert perfect["efficiency"] == pytest.approx(1, abs=1e-4)
    slow = scaling.step(counted, 32, 64, dataclasses.replace(machine, nic=1e-3))
    assert slow["exposed"] == pytest.approx(slow["reduce"], rel=1e-3)  # nothing of it can be hidden
    wire = 2 * 63 / 64 * sum(counted.gradients().values()) / (8 * 1e-3 * 1e9)
    assert slow["reduce"] == pytest.approx(wire)
    assert scaling.step(counted, 32, 64, dataclasses.replace(machine, nic=1e-3), 2)["reduce"] == pytest.approx(wire / 2)


def test_table_and_picture(
    scaling: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--nics", "1", "--picture", str(tmp_path / "a.png"), "--json", str(tmp_path / "a.json")]
    monkeypatch.setattr(sys, "argv", [str(PAGE), *options])
    scaling.main()
    assert "NOT A MEASUREMENT" in capsys.readouterr().out
    found = json.loads((tmp_path / "a.json").read_text())
    rows = {(row["gpus"], row["images"]): row for row in found["rows"]}
    assert len(rows) == 21
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    for (gpus, images), row in rows.items():
        assert 0 <= row["exposed"] <= row["reduce"]
        assert row["efficiency"] <= row["efficiency_bf16"] <= 1
        if gpus > 1:
            assert row["efficiency"] <= rows[gpus // 2, images]["efficiency"]
        if images > 16:
            assert row["efficiency"] >= rows[gpus, images // 2]["efficiency"]
    last = rows[64, 64]
    assert last["loader"] == pytest.approx(last["images_per_second"] / 8 * 35e3)  # bytes/s for each of 8 nodes
