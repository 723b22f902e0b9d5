"""`mrigan evaluate --shards URL`: the split that is scored is staged first, and nothing else."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.config import FacesConfig, ShardsConfig, to_dict
from mrigan.errors import ConfigError
from mrigan.models import Detector
from mrigan.models.bundle import save_bundle
from tests.data.shards import make_samples, write_shards

SIZE = 32


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "away" / "set"
    samples = [*make_samples(4, 6, split="test", size=SIZE), *make_samples(3, 3, split="train", seed=1, size=SIZE)]
    write_shards(folder, samples)
    (folder / "plan.json").write_text(json.dumps({"config": to_dict(ShardsConfig(faces=FacesConfig(size=SIZE)))}))
    return folder


@pytest.fixture
def url(shards: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(shards.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{shards.name}"
    server.shutdown()
    server.server_close()


def test_the_same_report_from_a_url(shards: Path, url: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = tmp_path / "face" / "model"
    detector, faces = Detector("mobilenetv3_small_050", size=SIZE, hidden=8), to_dict(FacesConfig(size=SIZE))
    limits = {"frame": 0.5, "fraction": 0.5}
    save_bundle(model, detector, "face", None, faces=faces, thresholds=limits, provenance={})
    found = {}
    for name, words in (("here", [str(shards)]), ("url", [url, "--cache", str(tmp_path / "cache")])):
        out = tmp_path / name
        command = [
            "evaluate",
            "--model",
            str(model),
            "--shards",
            *words,
            "--workers",
            "0",
            "--no-track",
            "-o",
            str(out),
        ]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, (done.output, done.exception)
        found[name] = json.loads((out / "metrics.json").read_text())["results"]
    assert found["url"] == found["here"]
    staged = {tar.name for tar in tmp_path.glob("cache/*/*.tar")}
    assert staged == {tar.name for tar in shards.glob("test-*.tar")}

    done = CliRunner().invoke(app, ["evaluate", "--model", str(model), "--shards", url, "-o", str(tmp_path / "no")])
    assert isinstance(done.exception, ConfigError)
    assert "--cache DIR" in str(done.exception)
    done = CliRunner().invoke(
        app, ["evaluate", "--shards", "http://127.0.0.1:1/x", "--cache", str(tmp_path), "-o", "no"]
    )
    assert "takes --model and --shards" in str(done.exception)  # wrong use is said before anything is fetched
