"""model.json, typed: the description of a finished detector. Each field has a type and a range (see `typed`), so that a
model from elsewhere is checked before it is built."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from mrigan.config.fields import at_least, checked, choice, within
from mrigan.config.shards import FacesConfig
from mrigan.config.training import DECODER, DETECTOR_HIDDEN, DETECTOR_SIZE, MAX_LEVELS
from mrigan.errors import ConfigError

SCHEMA_VERSION = 1
KIND = "mrigan-detector"
INPUTS = ("face", "mri")
MAX_NETWORKS = 16  # of an ensemble
DETECTOR_FILE, GENERATOR_FILE, FAMILIARITY_FILE, KNOWN_FILE = SINGLE_FILES = tuple(
    f"{name}.safetensors" for name in ("detector", "generator", "familiarity", "known_faces")
)
MAX_LOGIT = 1e6  # also of the numbers in calibrations and rules
PART_OF = {  # counts of `ThresholdCounts` that cannot exceed others
    "fakes_found": "fakes",
    "fake_families": "fakes",
    "reals_called_fake": "reals",
    "real_families": "reals",
}
CALIBRATIONS = {"temperature": ("temperature",), "platt": ("slope", "intercept"), "isotonic": ("x", "y")}


@dataclass(frozen=True)
class DetectorSettings:
    """The arguments of `mrigan.models.Detector`, with their defaults; with a decoder, of `MapDetector`."""

    backbone: str = checked("tf_efficientnet_b0", pattern=r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?", length=100, required=True)
    size: int = within(*DETECTOR_SIZE, 224)  # px
    hidden: int = within(*DETECTOR_HIDDEN, 128)
    dropout: float = within(0, 1, 0.5)
    drop_path: float = within(0, 1, 0.2)
    mean: list[float] = within(-1, 1, [0.485, 0.456, 0.406], length=3)  # of the backbone's input in 0…1, ImageNet's
    std: list[float] = within(1e-3, 10, [0.229, 0.224, 0.225], length=3)
    networks: int = within(1, MAX_NETWORKS, 1)  # of an ensemble, all with these settings
    decoder: list[int] = checked([], min=DECODER[0], max=DECODER[1])  # channels of each level; [] = no MRI is drawn

    def __post_init__(self) -> None:
        if len(self.decoder) > MAX_LEVELS:
            raise ConfigError(f"detector.decoder has {len(self.decoder)} levels; at most {MAX_LEVELS} are allowed")
        if self.decoder and self.networks > 1:
            raise ConfigError("detector.networks: several networks that draw MRIs cannot be averaged")

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the networks' files: detector.safetensors, detector-2.safetensors, …"""
        return (DETECTOR_FILE, *(f"detector-{number}.safetensors" for number in range(2, self.networks + 1)))


@dataclass(frozen=True)
class Thresholds:
    """A video is fake if at least the share `fraction` of its faces has a probability above `frame`."""

    frame: float = within(0, 1, 0.5, required=True)
    fraction: float = within(0, 1, 0.5, required=True)
    real_below: float | None = within(0, 1, None)  # the share; from it up to `fraction` the verdict is undecided

    def __post_init__(self) -> None:
        _check_band("thresholds", self.real_below, self.fraction)
        if self.frame == 1 or self.fraction == 0:
            raise ConfigError(
                f"thresholds.frame={self.frame:g} and thresholds.fraction={self.fraction:g} give every video with a "
                "face the same verdict",
                fix="a frame threshold below 1, and a fraction above 0",
            )


@dataclass(frozen=True)
class StoredFile:
    """A file beside model.json."""

    sha256: str = checked("", pattern="[0-9a-f]{64}", required=True)
    bytes: int | None = at_least(0, None)


@dataclass(frozen=True)
class Calibration:
    """One of the three kinds of `mrigan.evaluation.calibration`, with its parameters."""

    kind: str = choice(*CALIBRATIONS)
    videos: int = at_least(0, 0)
    temperature: float | None = within(1e-6, MAX_LOGIT, None)
    slope: float | None = within(0, MAX_LOGIT, None)
    intercept: float | None = within(-MAX_LOGIT, MAX_LOGIT, None)
    x: list[float] | None = within(-MAX_LOGIT, MAX_LOGIT, None)
    y: list[float] | None = within(0, 1, None)

    def __post_init__(self) -> None:
        for name in CALIBRATIONS[self.kind]:
            if getattr(self, name) is None:
                raise ConfigError(f"doubt.calibration.{name} is missing, but {self.kind} scaling needs it")
        if self.kind == "isotonic":
            x, y = self.x or [], self.y or []
            if not x or len(x) != len(y) or x != sorted(x) or y != sorted(y):
                raise ConfigError("doubt.calibration.x and y must have the same length, and ascending numbers")


@dataclass(frozen=True)
class RuleSettings:
    """The parameters of the rule `learned`; other rules have none."""

    weights: dict[str, float] | None = within(-MAX_LOGIT, MAX_LOGIT, None)
    intercept: float | None = within(-MAX_LOGIT, MAX_LOGIT, None)


@dataclass(frozen=True)
class StoredRule:
    """See `mrigan.detect.rule`."""

    threshold: float = within(0, 1, 0.5, required=True)
    settings: RuleSettings = checked(RuleSettings)
    real_below: float | None = within(0, 1, None)  # the score; from it up to `threshold` the verdict is undecided

    def __post_init__(self) -> None:
        _check_band("doubt.rules", self.real_below, self.threshold)
        if self.threshold == 0:
            raise ConfigError("doubt.rules: a rule with threshold=0 calls every video with a face fake",
                              fix="a threshold above 0")  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """See `mrigan.evaluation.limits`; None = no such limit."""

    min_faces: int | None = within(1, 10_000, None)  # of a video
    share: float | None = within(0, 1, None)  # of the faces that must be beyond a limit
    min_side: float | None = within(0, 1e5, None)  # px
    min_sharpness: float | None = within(0, 1e9, None)
    max_distance: float | None = within(0, 1e9, None)
    min_colour: float | None = within(0, 255, None)


@dataclass(frozen=True)
class FittedCard:
    """What is fitted after the weights: calibration, other rules, limits (see `mrigan.evaluation.fit_limits`)."""

    calibration: Calibration | None = None
    uncalibrated: str = ""  # why there is no calibration
    calibration_log_loss: dict[str, float] = checked({}, min=0)
    rules: dict[str, StoredRule] = checked({})
    limits: Limits = checked(Limits)
    from_training: list[str] = checked([])  # names of limits that the training faces set

    def to_json(self) -> dict[str, Any]:
        """JSON values; of a model without a calibration, why."""
        data = given(self)
        del data["uncalibrated" if self.calibration else "calibration_log_loss"]
        return data if self.calibration else {**data, "calibration": None}


@dataclass(frozen=True)
class Counts:
    """The size of a part of the data."""

    families: int | None = at_least(0, None)
    real: int | None = at_least(0, None)  # videos
    fake: int | None = at_least(0, None)  # videos
    faces: int | None = at_least(0, None)


@dataclass(frozen=True)
class DataCard:
    """The data that the model was trained on (see `mrigan.training.finish`)."""

    about: str = ""  # in words
    datasets: list[str] = checked([])
    training: Counts = checked(Counts)
    validation: Counts = checked(Counts)


@dataclass(frozen=True)
class ThresholdCounts:
    """The videos and families for the search of thresholds."""

    fakes: int = at_least(0, 0)
    fakes_found: int = at_least(0, 0)
    fake_families: int = at_least(0, 0)
    reals: int = at_least(0, 0)
    reals_called_fake: int = at_least(0, 0)
    real_families: int = at_least(0, 0)


@dataclass(frozen=True)
class FittedDecision:
    """The files that `mrigan.scoring.decision` fitted thresholds on."""

    rule: str = checked("fraction", length=100)
    source: str = ""
    reals: int = at_least(0, 0)
    reals_called_fake: int = at_least(0, 0)
    reals_undecided: int = at_least(0, 0)


@dataclass(frozen=True)
class Searched:
    """The types of some keys of `search_thresholds`' result."""

    source: str = ""
    tpr: float | None = within(0, 1, None)
    tnr: float | None = within(0, 1, None)
    counts: dict[str, Any] | None = checked(None, typed=ThresholdCounts)
    decision: dict[str, Any] | None = checked(None, typed=FittedDecision)


@dataclass(frozen=True)
class Provenance:
    """The types of some keys of `provenance`; other keys are free."""

    mlflow_run_id: str | None = None
    code_version: str | None = None
    data_hash: str | None = None
    step: int | None = at_least(0, None)
    config: dict[str, Any] | None = None
    thresholds: dict[str, Any] | None = checked(None, typed=Searched)


@dataclass(frozen=True)
class Judging:
    """From the scores of faces to the score of a video."""

    # The rule that judges unless another is requested: `fraction` by `thresholds`, or one of `doubt.rules`
    rule: str = checked("fraction", length=100)
    # all: each face counts. largest: a frame counts once, by the highest score of those of its faces that have at least
    # half the area of the largest
    frame: str = choice("all", "largest")


@dataclass(frozen=True)
class ModelCard:
    """All of model.json."""

    schema_version: int = within(SCHEMA_VERSION, SCHEMA_VERSION, SCHEMA_VERSION, required=True)
    kind: str = checked(KIND, choices=(KIND,), required=True)
    input: str = checked("face", choices=INPUTS, required=True)
    detector: DetectorSettings = checked(DetectorSettings, required=True)
    faces: FacesConfig = checked(FacesConfig, required=True)
    thresholds: Thresholds = checked(Thresholds, required=True)
    judging: Judging = checked(Judging)
    # What a detector of MRIs is shown: the MRI in 0…1; or, as to that of MRI-GAN's authors, the output of a G whose
    # dropout is on, which runs from -1 to 1, cut at 0
    mri_input: str = choice("mri", "authors")
    files: dict[str, StoredFile] = checked({}, required=True)
    doubt: FittedCard = checked(FittedCard)  # the name that model.json has for it
    data: DataCard = checked(DataCard)
    provenance: dict[str, Any] = checked({}, typed=Provenance)

    @property
    def registered_name(self) -> str:
        """The name of such models in the registry: mrigan-face, mrigan-mri, or mrigan-map."""
        return f"mrigan-{'map' if self.detector.decoder else self.input}"

    def __post_init__(self) -> None:
        known = dict.fromkeys((*self.detector.files, *SINGLE_FILES))
        for name in self.files:
            if name not in known:
                raise ConfigError(f"files lists {name!r:.60}, but a model has only {', '.join(known)}")
        if self.judging.rule != "fraction" and self.judging.rule not in self.doubt.rules:
            raise ConfigError(f"judging.rule is {self.judging.rule!r:.60}, but doubt.rules does not have it")
        counts = (self.provenance.get("thresholds") or {}).get("counts") or {}
        for part, whole in PART_OF.items():
            if {part, whole} <= counts.keys() and counts[part] > counts[whole]:
                what = f"{part}={counts[part]} is more than {whole}={counts[whole]}"
                raise ConfigError(f"provenance.thresholds.counts: {what}")


def _check_band(where: str, real_below: float | None, threshold: float) -> None:
    if real_below is not None and real_below > threshold:
        raise ConfigError(f"{where}: real_below={real_below:g} is above the threshold of {threshold:g}",
                          fix="a number up to the threshold")  # fmt: skip


def given(part: Any) -> dict[str, Any]:
    """A part of the card as JSON values, without those that are None."""
    return dataclasses.asdict(
        part, dict_factory=lambda pairs: {name: value for name, value in pairs if value is not None}
    )
