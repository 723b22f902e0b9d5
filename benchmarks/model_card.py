"""The model card of the shipped model, with its figures, from the files of two evaluations.

mrigan evaluate --model MODEL --shards DEEPFAKES -o evaluation
mrigan evaluate --false-alarms REALS --model MODEL -o gate
python benchmarks/model_card.py MODEL evaluation gate -o mrigan/shipped/MODEL_CARD.md
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from mrigan.detect.rule import choose_rule
from mrigan.evaluation.schema import VIDEO, faces_only, group_codes
from mrigan.evaluation.scores import read_scores
from mrigan.models import Bundle, load_bundle

HEAD = """# Model card: the shipped model

It finds leads, not proofs. It says *fake*, *real* or *undecided* of the faces of a video or a picture, and draws the
MRI of a face: where it expects the face to differ from the real face under it. docs/open-model.md says how it was made,
and from whose pictures.
"""
DATA = """## Data and credit

Only openly licensed pictures of real people; no deepfake. Face Research Lab London Set (DeBruine and Jones 2017,
figshare 5047666, CC BY 4.0); Young Adult White Faces with Manipulated Versions (DeBruine and Jones 2017, figshare
4220517, CC BY 4.0); photographs under CC0; GRID audio-visual speech corpus (Cooke, Barker, Cunningham and Shao 2006,
CC BY 4.0 by its record zenodo 3625687); weekly addresses of the White House (United States government work; no
endorsement is implied); Intel IoT DevKit sample-videos (CC BY 4.0); OpenMPF's sample of Aaron "tango" Tang (flickr
hahatango, CC BY 2.0); and clips that `mrigan animate` made of the photographs. The people in the photographs signed a
consent to their use in research. The weights have the licence of Mrigan; who passes them on keeps this credit.
"""
LIMITS = """## What it misses

- **Strong compression** (FaceForensics++ c40) hides much of what it looks for, and so do small faces, side light and
  turned heads.
- **Wholly synthetic people and videos** have no seam between a face and what lies around it. It was not made for them.
- **Lip-sync** changes the mouth alone, as few self-blends do.
- **People and light that it has not seen.** Most of its people are adults in studio light, three in four of them white;
  its videos are few. It was not measured by age, sex or skin colour.
- **A person it learned from** may pass as real in a forgery: of the four fakes of President Obama in FaceForensics++
  (`183_253`) it calls three real.
- **Its probability is not calibrated for your videos**, but on self-blends of people left out.

Do not use it to accuse anybody. Use it to find what is worth a closer look, with the page that shows where it looked.
"""


def card(model: Path, evaluation: dict[str, Any], scores: pa.Table, gate: dict[str, Any]) -> str:
    bundle = load_bundle(model)
    (result,) = evaluation["results"]
    (alarms,) = gate["results"]
    return "\n".join([HEAD, facts(bundle), DATA, fakes(result), verdicts(bundle, scores), reals(alarms), LIMITS])


def facts(bundle: Bundle) -> str:
    made, learned = bundle.card.provenance, bundle.card.data
    config, stored = made["config"], bundle.card.files["detector.safetensors"]
    rule = bundle.card.doubt.rules.get(bundle.card.judging.rule)
    train, parts = config["train"], (learned.training, learned.validation)
    counts = [f"{part.faces:,} faces of {part.real} pictures and clips" for part in parts]
    lines = [
        "## Facts",
        "",
        f"- {config['model']['backbone']} with an MRI decoder, {config['model']['size']} px",
        f"- {stored.bytes or 0:,} bytes, SHA-256 {stored.sha256}",
        f"- step {made['step']} of a schedule of {config['optim']['decay_steps']}, seed {train['seed']}, batches of "
        f"{train['batch_size'] // 2} faces and their self-blends",
        f"- it learned from {counts[0]}, and was chosen by {counts[1]} of other people, self-blends included",
    ]
    decision = (made.get("thresholds") or {}).get("decision")
    if rule is not None and decision:
        lines.append(
            f"- fake from {rule.threshold:.2f} on, real below {rule.real_below:.2f}, by the rule "
            f"{bundle.card.judging.rule}; fitted on {decision['source']}"
        )
    return "\n".join([*lines, ""])


def fakes(result: dict[str, Any]) -> str:
    found = result["originals"]
    lines = [
        "## Real deepfakes against their own originals",
        "",
        "None of these files was in the training. In brackets: 95 % intervals; people and methods are few, so they are",
        "wide.",
        "",
        "| Data set | Method | Fakes | Above their original | AUC | MRI alone: AUC | MRI: fakes ÷ originals |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in [
        *found["sets"],
        found["all"] | {"method": "all fakes"},
        found["macro"] | {"method": "mean of the methods"},
    ]:
        cells = [row["dataset"], row["method"], str(row["fakes"])]
        cells += [shown(row, name) for name in ("pair_accuracy", "auc", "mri_auc", "mri_ratio")]
        lines.append(f"| {' | '.join(cells)} |")
    cross = result["cross_auc"]["across"]
    lines += [
        "",
        f"AUC of the reals of one data set against the fakes of another: {ranged(cross['auc'], cross['interval'])}.",
    ]
    return "\n".join([*lines, ""])


def verdicts(bundle: Bundle, scores: pa.Table) -> str:
    """What the model says of each data set's reals and fakes, by its own rule."""
    stored = bundle.card.doubt.rules
    rule = choose_rule(bundle.card.judging.rule, bundle.card.thresholds, stored)
    faces = faces_only(scores)
    codes, first = group_codes(faces, VIDEO)
    said: dict[tuple[str, str], Counter[str]] = {}
    for code, row in enumerate(first):
        kind = "fakes" if faces["label"][int(row)].as_py() else "reals"
        word = rule.verdict(faces["prob"].to_numpy()[codes == code])
        said.setdefault((faces["dataset"][int(row)].as_py(), kind), Counter())[word] += 1
    lines = [
        "## What it says of them",
        "",
        "| Data set | | Files | Fake | Undecided | Real |",
        "|---|---|---|---|---|---|",
    ]
    for (name, kind), words in sorted(said.items()):
        cells = [name, kind, *(str(n) for n in (words.total(), words["fake"], words["undecided"], words["real"]))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Limits of size and sharpness are not applied here.", ""])


def reals(alarms: dict[str, Any]) -> str:
    lines = ["## Real faces", "", "| Source | Files | Called fake | Undecided |", "|---|---|---|---|"]
    for row in [*alarms["sources"], alarms["total"]]:
        shares = [ranged(row["shares"][name], row["intervals"][name]) for name in ("fake", "undecided")]
        lines.append(f"| {row['source']} | {row['trials']} | {' | '.join(shares)} |")
    return "\n".join([*lines, ""])


def shown(row: dict[str, Any], name: str) -> str:
    return ranged(row.get(name), row["intervals"].get(name))


def ranged(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" + (f" ({interval[0]:.2f}–{interval[1]:.2f})" if interval else "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("gate", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    read = [
        json.loads(file.read_text()) for file in (given.evaluation / "metrics.json", given.gate / "false-alarms.json")
    ]
    scores = read_scores(given.evaluation / "scores.parquet")
    given.out.write_text(card(given.model, read[0], scores, read[1]))
