"""The page of every setting, and `mrigan config show`, against the schema and the files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.config import DetectorConfig, GanConfig, ShardsConfig, flatten, load_config, to_dict
from mrigan.config.reference import SCHEMAS, keys_of, page
from tests.conftest import ROOT


def test_the_page_is_up_to_date() -> None:
    """To mend it: mrigan config docs -o docs/config.md"""
    assert (ROOT / "docs" / "config.md").read_text() == page(), "run: mrigan config docs -o docs/config.md"


def test_the_page_is_written_over_an_earlier_one(tmp_path: Path) -> None:
    out, earlier = (
        tmp_path / "config.md",
        "# Every setting\n\nMade from the schema by `mrigan config docs -o x`; a test\n",
    )
    for content in (earlier, page()):
        out.write_text(content)
        assert CliRunner().invoke(app, ["config", "docs", "-o", str(out)]).exit_code == 0
        assert out.read_text() == page()


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_key_is_there_and_says_what_it_means(kind: str) -> None:
    keys = keys_of(SCHEMAS[kind])
    assert [key.name for key in keys] == list(flatten(to_dict(SCHEMAS[kind]())))
    assert [key.name for key in keys if not key.meaning] == []
    text = (ROOT / "docs" / "config.md").read_text()
    assert [key.name for key in keys if f"| `{key.name}` |" not in text] == []


def test_types_defaults_and_meanings_are_those_of_the_source() -> None:
    gan, detector = ({key.name: key for key in keys_of(SCHEMAS[kind])} for kind in ("gan", "detector"))
    assert (gan["optim.lr"].default, detector["optim.lr"].default) == ("`0.0002`", "`0.0001`")
    assert gan["run.dir"].default == "must be given"
    assert gan["loss.adversarial"].values == "`least_squares`, `log`"
    assert gan["eval.faces"].values == "whole number, at least 256"
    assert gan["eval.every"].meaning == "steps (section 4.7)"  # of a class that its class extends
    assert gan["eval.faces"].meaning.startswith("Held-out faces whose mean SSIM")  # two lines above the field
    text = page()
    cells = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    rows = {cell[1].strip(" `"): cell[5].strip() for cell in cells if cell[2].strip().startswith("gan")}
    assert (rows["loss.tau"], rows["engine.name"], rows["data.balance"]) == ("no", "yes", "no")


def show(*words: str) -> str:
    result = CliRunner().invoke(app, ["config", "show", *words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("name", "schema"),
    [("gan/authors.yaml", GanConfig), ("detector/mri.yaml", DetectorConfig), ("shards/mri-df.yaml", ShardsConfig)],
)
def test_what_is_shown_is_the_config(name: str, schema: type) -> None:
    given = [] if schema is ShardsConfig else ["run.dir=runs/x"]
    assert yaml.safe_load(show(name, *given)) == to_dict(load_config(schema, name, given))


def test_each_value_says_where_it_is_from(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"extends: {ROOT / 'configs/gan/authors.yaml'}\ntrain: {{seed: 3}}\n")
    shown = show(str(tmp_path / "mine.yaml"), "loss.tau=0.5").splitlines()
    lines = {line.split(":")[0].strip(): line for line in shown}
    assert lines["seed"].endswith(f"# {tmp_path / 'mine.yaml'}")
    assert lines["adversarial"].endswith("# gan/authors.yaml")
    assert lines["lr"].endswith("# gan/paper.yaml")
    assert lines["tau"].endswith("# given: loss.tau=0.5")
    assert lines["precision"].endswith("# default")
    assert lines["dir"].endswith("# must be given")
    assert "input" not in lines  # a generator's config, found by its keys


def test_a_wrong_key_is_told_as_in_a_training() -> None:
    result = CliRunner().invoke(app, ["config", "show", "gan/paper.yaml", "loss.tauu=1"])
    assert result.exit_code != 0
    assert "did you mean loss.tau?" in str(result.exception)
