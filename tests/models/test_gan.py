"""Generator and discriminator: sizes, parameters, modes, and the published checkpoint's architecture restated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.errors import ConfigError, ModelError
from mrigan.models import (
    Discriminator,
    Generator,
    generator_info,
    load_generator,
    predict_mri,
    save_generator,
)
from mrigan.models.generator import Head
from mrigan.models.importers import read_published


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# ------------------------------------------------------------------------------------------- the published generator


class _Block(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)


class Published(nn.Module):
    """The published generator, written from its description for this test alone, with its checkpoints' keys."""

    def __init__(self, w: int = 64) -> None:
        super().__init__()
        down = [(3, w), (w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w), *[(8 * w, 8 * w)] * 4]
        for i, (into, out) in enumerate(down, 1):
            norm = [] if i in (1, 8) else [nn.InstanceNorm2d(out)]
            drop = [nn.Dropout(0.5)] if i >= 4 else []
            layers = [nn.Conv2d(into, out, 4, 2, 1, bias=False), *norm, nn.LeakyReLU(0.2), *drop]
            self.add_module(f"down{i}", _Block(*layers))
        up = [(8 * w, 8 * w), *[(16 * w, 8 * w)] * 3, (16 * w, 4 * w), (8 * w, 2 * w), (4 * w, w)]
        for i, (into, out) in enumerate(up, 1):
            drop = [nn.Dropout(0.5)] if i <= 4 else []
            layers = [nn.ConvTranspose2d(into, out, 4, 2, 1, bias=False), nn.InstanceNorm2d(out), nn.ReLU(), *drop]
            self.add_module(f"up{i}", _Block(*layers))
        self.final = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(2 * w, 3, 4, padding=1), nn.Tanh()
        )

    def forward(self, x: Tensor) -> Tensor:
        levels = []
        for i in range(1, 9):
            x = getattr(self, f"down{i}").model(x)
            levels.append(x)
        for i in range(1, 8):
            x = torch.cat((getattr(self, f"up{i}").model(x), levels[7 - i]), 1)
        return self.final(x)


def published_checkpoint(path: Path, width: int, prefix: str) -> Published:
    torch.manual_seed(3)
    network = Published(width).eval()
    state = {prefix + key: value for key, value in network.state_dict().items()}
    optimizer = {"state": {}, "param_groups": [{"lr": 2e-4, "betas": (0.5, 0.999)}]}
    torch.save(
        {
            "epoch": 7,
            "model_params": {"imsize": 256, "tau": 0.3},
            "log_dir": "logs",
            "generator_state_dict": state,
            "optimizer_G_state_dict": optimizer,
        },
        path,
    )
    return network


@pytest.mark.parametrize(("width", "prefix", "weights"), [(64, "", "54,404,099"), (4, "module.", "")])
def test_a_published_checkpoint_gives_the_same_pictures(width: int, prefix: str, weights: str, tmp_path: Path) -> None:
    published = published_checkpoint(tmp_path / "checkpoint.chkpt", width, prefix)
    out = tmp_path / "G.safetensors"
    result = CliRunner().invoke(
        app, ["models", "import", "authors", str(tmp_path / "checkpoint.chkpt"), "-o", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert weights in result.output
    G = load_generator(out)
    face = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(4)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(G(face), published(face), atol=1e-5, rtol=0)
    assert not G.training
    assert G.dropout == 0.5
    assert generator_info(out)["source"] == "published checkpoint"


class _Opens:
    """An object whose pickle opens a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return open, (self.path, "w")


def test_a_checkpoint_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"generator_state_dict": {}, "x": _Opens(tmp_path / "ran")}, tmp_path / "bad.chkpt")
    with pytest.raises(ModelError, match="code or objects"):
        read_published("authors", [tmp_path / "bad.chkpt"])
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "G.safetensors").exists()


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    path, out = tmp_path / "c.pt", tmp_path / "G.safetensors"
    state = {key: value[:8, :8].clone() for key, value in Published(4).state_dict().items() if "weight" in key}
    for content, message in [
        ({"state_dict": {}}, "no model_state_dict"),
        ([1, 2], "contains a list"),
        ({"generator_state_dict": {"conv.weight": torch.zeros(1)}}, "unknown keys: conv.weight"),
        ({"generator_state_dict": {}}, "no generator_state_dict"),
        ({"generator_state_dict": {"final.2.bias": torch.zeros(3)}}, "down1 is missing"),
        ({"generator_state_dict": state}, "not the published generator"),
        ({"generator_state_dict": state | {"final.2.bias": torch.tensor([1.0, float("nan"), 0])}}, "NaN or infinite"),
    ]:
        torch.save(content, path)
        with pytest.raises(ModelError, match=message):
            read_published("authors", [path])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match=r"cannot be read|damaged"):
        read_published("authors", [path])
    path.write_text("no checkpoint")
    with pytest.raises(ModelError, match="damaged"):
        read_published("authors", [path])
    with pytest.raises(ModelError, match="no such weight file"):
        read_published("authors", [tmp_path / "none.pt"])
    assert not out.exists()


# ------------------------------------------------------------------------------------------------------ our own


def test_full_size_has_the_papers_parameters() -> None:
    with torch.device("meta"):
        G, D = Generator(), Discriminator()
    assert parameters(G) == 54_404_099
    assert parameters(D) == 2_767_808
    assert [level for level, m in enumerate(G.down, 1) if isinstance(m.drop, nn.Dropout)] == [4, 5, 6, 7, 8]
    assert [i for i, m in enumerate(G.up, 1) if isinstance(m.drop, nn.Dropout)] == [1, 2, 3, 4]
    assert [level for level, m in enumerate(G.down, 1) if isinstance(m.norm, nn.InstanceNorm2d)] == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("size", [8, 16, 32, 128])
def test_depth_follows_the_size(size: int) -> None:
    G = Generator(size, 4)
    assert 2 ** len(G.down) == size
    assert len(G.up) == len(G.down) - 1
    out = G(torch.rand(1, 3, size, size) * 2 - 1)
    assert out.shape == (1, 3, size, size)
    assert out.abs().max() <= 1


def test_the_discriminator_judges_patches() -> None:
    D = Discriminator(4)
    mri, face = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    assert D(mri, face).shape == (2, 1, 4, 4)
    assert not torch.equal(D(mri, face), D(face, mri))  # the MRI comes first
    with pytest.raises(ConfigError, match="at least 32"):
        D(mri[..., :16, :16], face[..., :16, :16])


def test_initial_weights() -> None:
    torch.manual_seed(0)
    for network in (Generator(32, 16), Discriminator(16)):
        for name, p in network.named_parameters():
            if name.endswith("bias"):
                assert not p.any()
            elif p.numel() > 4000:
                assert abs(p.std().item() - 0.02) < 1e-3
                assert abs(p.mean().item()) < 1e-3


@pytest.mark.parametrize("kwargs", [{"size": 100}, {"size": 4}, {"width": 0}, {"dropout": 1.0}])
def test_impossible_settings_are_refused(kwargs: dict) -> None:
    with pytest.raises(ConfigError):
        Generator(**kwargs)


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="size 32 cannot process"):
        Generator(32, 4)(torch.zeros(1, 3, 64, 64))


def test_the_head_is_doubling_then_convolving() -> None:
    """As the paper's code has it: nearest x2, pad (1, 0, 1, 0), convolution 4 x 4 of padding 1; and its gradients."""
    torch.manual_seed(0)
    head = Head(6).double()
    plain = nn.Sequential(
        nn.Upsample(scale_factor=2), nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(6, 3, 4, padding=1), nn.Tanh()
    )
    plain = plain.double()
    plain[2].load_state_dict(head.conv.state_dict())
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64, requires_grad=True)
    for module in (head, plain):
        module(x).square().sum().backward()
    assert torch.allclose(head(x), plain(x), atol=1e-12)
    assert torch.allclose(head.conv.weight.grad, plain[2].weight.grad, atol=1e-10)
    assert torch.allclose(head.conv.bias.grad, plain[2].bias.grad, atol=1e-10)
    assert set(head.state_dict()) == {"conv.weight", "conv.bias"}


def test_channels_last_changes_nothing() -> None:
    torch.manual_seed(0)
    G, D = Generator(32, 8, dropout=0), Discriminator(8)
    face = torch.rand(2, 3, 32, 32) * 2 - 1
    expected = G(face)
    patches = D(expected, face)
    G.to(memory_format=torch.channels_last)
    D.to(memory_format=torch.channels_last)
    face = face.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(G(face), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(D(G(face), face), patches, atol=1e-5, rtol=0)
    D(G(face), face).mean().backward()
    assert all(p.grad is not None for p in G.parameters())


# ----------------------------------------------------------------------------------------------------- prediction


def test_predicted_mris_have_no_dropout_and_lie_in_0_to_1() -> None:
    """G left in train mode draws other pictures each time; tanh saved as it is loses everything below zero."""
    torch.manual_seed(0)
    G = Generator(32, 8).train()
    faces = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert not torch.equal(G(faces / 127.5 - 1), G(faces / 127.5 - 1))  # dropout is there
    first, second = predict_mri(G, faces), predict_mri(G, faces)
    assert torch.equal(first, second)
    assert G.training  # as it was
    with torch.no_grad():
        tanh = G.eval()(faces.float() / 127.5 - 1)
    assert tanh.min() < 0
    torch.testing.assert_close(first, (tanh + 1) / 2)
    assert 0 <= first.min() < first.max() <= 1
    assert not first.is_inference()  # a detector trains on it


def test_faces_of_another_size_are_resized() -> None:
    G = Generator(32, 4)
    faces = torch.randint(0, 256, (2, 3, 50, 70), dtype=torch.uint8)
    assert predict_mri(G, faces).shape == (2, 3, 32, 32)
    flat = torch.full((1, 3, 50, 70), 90, dtype=torch.uint8)
    torch.testing.assert_close(predict_mri(G, flat), predict_mri(G, flat[..., :32, :32]), atol=1e-4, rtol=0)


# ----------------------------------------------------------------------------------------------------------- files


def test_a_generator_file_holds_all_that_is_needed(tmp_path: Path) -> None:
    G = Generator(16, 4, dropout=0.25).to(memory_format=torch.channels_last)
    save_generator(tmp_path / "G.safetensors", G, {"step": 12})
    loaded = load_generator(tmp_path / "G.safetensors")
    assert (loaded.size, loaded.width, loaded.dropout, loaded.training) == (16, 4, 0.25, False)
    for name, value in G.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert generator_info(tmp_path / "G.safetensors") == {"step": 12}
    assert [path.name for path in tmp_path.iterdir()] == ["G.safetensors"]
    for again in ("a", "b", "c"):  # the same generator is the same file
        save_generator(tmp_path / again, G, {"step": 12})
        assert (tmp_path / again).read_bytes() == (tmp_path / "G.safetensors").read_bytes()


def test_damaged_and_foreign_generator_files_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "G.safetensors"
    G = Generator(16, 4)
    save_generator(path, G)
    whole = path.read_bytes()
    for broken in (b"", whole[:7], whole[:-1], whole[: len(whole) // 2], b"PK\x03\x04 not this", b"\xff" * 64):
        path.write_bytes(broken)
        with pytest.raises(ModelError, match="to do: give a G"):
            load_generator(path)
    state = G.state_dict()
    ours = {"format": "mrigan-generator", "format_version": 1, "size": 16, "width": 4, "dropout": 0.5}
    wrong = [
        {"format": "other"},
        {"format_version": 9},
        {"size": 17},
        {"size": 1048576},
        {"width": 99999},
        {"width": "x"},
        {"width": None},
        {"size": 32},
        {"dropout": "no"},
    ]
    facts = [json.dumps(ours | change) for change in wrong]
    for metadata in (None, {}, *({"mrigan": text} for text in (*facts, "", "[]", "{", "[" * 100_000))):
        save_file(state, path, metadata)
        with pytest.raises(ModelError):
            load_generator(path)
    save_file({key: value for key, value in state.items() if "head" not in key}, path, {"mrigan": json.dumps(ours)})
    with pytest.raises(ModelError, match="do not fit"):
        load_generator(path)
    with pytest.raises(ModelError, match="no such weight file"):
        load_generator(tmp_path / "none.safetensors")
    with pytest.raises(ModelError):
        load_generator(tmp_path)
