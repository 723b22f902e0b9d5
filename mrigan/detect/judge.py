"""The whole job of `mrigan detect`: a model, many inputs, a verdict on each."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mrigan.detect.about import about_model
from mrigan.detect.choice import choose_model
from mrigan.detect.decide import Criteria, decide
from mrigan.detect.findings import Findings
from mrigan.detect.inputs import Input, expand, identify
from mrigan.detect.look import expected_frames, find, in_silence
from mrigan.detect.options import Options
from mrigan.detect.pictures import Example
from mrigan.detect.scorer import Scorer
from mrigan.detect.verdict import Verdict
from mrigan.detect.watched import judge_watched
from mrigan.errors import ConfigError
from mrigan.progress import Advance, bar
from mrigan.video import INFERENCE_THRESHOLDS, FaceDetector
from mrigan.video.stills import shown

PRECISIONS = ("fp32", "bf16")

if TYPE_CHECKING:
    from mrigan.models.bundle import Bundle


@dataclass(frozen=True)
class Judged:
    """A verdict, and the pictures to show beside it: as in `Findings`.

    Args:
        earlier: the verdict is of an earlier run, so that there are no pictures.
    """

    verdict: Verdict
    picture: bool
    examples: list[Example] = field(default_factory=list)
    scenes: list[Example] = field(default_factory=list)
    strips: list[list[Example]] = field(default_factory=list)
    earlier: bool = False


def detect_paths(
    paths: Iterable[str | Path], model: Bundle | str | Path | None = None, options: Options | None = None
) -> list[Verdict]:
    """A verdict on each video or picture; a folder stands for the files in it.

    Args:
        model: a loaded one, a folder, a registered one (`models:/mrigan-face@champion`), or None: see `choose_model`.

    Returns:
        A verdict an input, in order; one that cannot be read is undecided with the reason `unreadable`.

    Raises:
        ModelError: no model, or a damaged one.
    """
    options = options or Options()
    inputs, _ = expand(paths, options.pictures)
    return [judged.verdict for judged in Judge(model, options).each(inputs)]


class Judge:
    """A loaded model that judges inputs one after the other.

    Attributes:
        folder: where the model was read from, None if it was given loaded. name: what verdicts call it.
        about: what verdicts say of it. criteria: what its verdicts are decided by.

    Raises:
        ModelError: no model, or a damaged one.
        ConfigError: no such device, no such precision, no such rule in the model, or a model of cut faces without
            `cropped`.
    """

    def __init__(self, model: Bundle | str | Path | None, options: Options, name: str = "") -> None:
        from mrigan.models.bundle import Bundle, load_bundle

        if options.precision not in PRECISIONS:
            raise ConfigError(f"no precision {options.precision!r}", where="--precision", fix=" or ".join(PRECISIONS))
        self.options = options
        self.folder: Path | None
        self.folder, chosen = (None, "given") if isinstance(model, Bundle) else choose_model(model)
        if not isinstance(model, Bundle):
            assert self.folder is not None
            model = load_bundle(self.folder)
        self.name = name or chosen
        device = pick_device(options.device)
        self.bundle = replace(model.to(device), precision=options.precision)
        trained = model.faces
        if trained.cropped and not options.cropped:
            raise ConfigError(
                f"{self.name} was trained on faces that were cut already (faces.cropped); the margin for cutting "
                "faces out of a video is unknown",
                where="--model",
                fix="cut the faces like the training faces, and use --cropped",
            )
        self.config = replace(
            trained,
            every=options.every or trained.every,
            frames=0 if options.every else trained.frames,
            long_side=0 if options.small_faces else trained.long_side,
            shrink=1.0 if options.small_faces else trained.shrink,
            thresholds=list(INFERENCE_THRESHOLDS),
        )
        self.detector = None if options.cropped else FaceDetector(self.config, device)
        self.about = about_model(model, self.name, self.config)
        self.criteria = Criteria.of(model.card, options.rule, self.about["validation"])
        self.about |= {"cropped": options.cropped, "precision": options.precision, "rule": self.criteria.rule.name}

    @property
    def on_gpu(self) -> bool:
        """Whether the networks run on a GPU."""
        return next(self.bundle.detector.parameters()).is_cuda

    def each(self, inputs: list[Input], examples: int = 0) -> Iterator[Judged]:
        """Judge the inputs in order, under a progress bar; faces of several inputs are scored together.

        Args:
            examples: faces kept of each input, to be shown.
        """
        expected = expected_frames(inputs, self.config)
        with bar("analysing frames", sum(expected), "frames") as advance:
            yield from judge_watched(self, inputs, expected, examples, advance)

    def judge(
        self,
        inputs: Sequence[Input],
        expected: Sequence[int],
        examples: int,
        progress: Advance,
        *,
        at: Callable[[str], None] = lambda file: None,
        late: Collection[Input] = (),
    ) -> Iterator[Judged]:
        """As `each`, without a bar of its own and without a limit of time.

        Args:
            expected: frames that each input is expected to have. at: is told the file that is read next.
            late: inputs that are not opened, because they took too long.
        """
        scorer = Scorer(self.bundle, self.config, examples)
        waiting: deque[tuple[int, Input, Findings]] = deque()
        for number, (item, frames) in enumerate(zip(inputs, expected, strict=True)):
            done = f"{number} of {len(inputs)} files done, " if len(inputs) > 1 else ""
            counter = _Counter(progress, f"{done}now {shown(os.path.basename(item.path))}", frames)
            at(item.path)
            findings = self.too_late() if item in late else find(item, number, scorer, self.detector, counter)
            waiting.append((number, item, findings))
            counter.finish()
            while waiting and not scorer.waits_for(waiting[0][0]):
                at(waiting[0][1].path)
                yield self._judged(scorer, *waiting.popleft(), progress)
        scorer.flush()
        while waiting:
            at(waiting[0][1].path)
            yield self._judged(scorer, *waiting.popleft(), progress)

    def _judged(self, scorer: Scorer, number: int, item: Input, findings: Findings, progress: Advance) -> Judged:
        return self.answer(item, scorer.complete(findings, number), progress)

    def too_late(self) -> Findings:
        """What is known of an input that took too long: nothing, and nobody touches it again."""
        limit = self.options.seconds_per_file
        return Findings(
            error=f"judging it took longer than {limit:g} s on this machine; --seconds-per-file is the limit"
        )

    def answer(self, item: Input, findings: Findings, progress: Advance = in_silence) -> Judged:
        """The verdict on what was found."""
        name = shown(os.path.basename(item.path))
        result = decide(
            item.path,
            identify(item.path, findings.file, findings.frames > 0, lambda: progress(0, f"(SHA-256 of {name})")),
            findings,
            self.criteria,
            picture=item.picture,
            config=self.config,
            model=self.about,
            cropped=self.options.cropped,
        )
        return Judged(result, item.picture, findings.examples, findings.scenes, findings.strips)


class _Counter:
    """Moves the bar by what was expected of an input, whatever it then holds, so that the bar ends at its end."""

    def __init__(self, advance: Advance, name: str, expected: int) -> None:
        self._advance, self._name, self._left = advance, name, expected

    def __call__(self, items: int = 1, note: str = "") -> None:
        items = min(items, self._left)
        self._left -= items
        if items:
            self._advance(items, note or self._name)

    def finish(self) -> None:
        self(self._left)


def pick_device(name: str) -> str:
    """`auto` → cuda where there is one, else cpu."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"no device {name!r}", where="--device", fix="auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"this machine has no {name}", where="--device", fix="--device cpu")
    return name
