"""The contract of a verdict, as a JSON schema."""

from jsonschema import Draft202012Validator

PROB = {"type": "number", "minimum": 0, "maximum": 1}
MAYBE = {"anyOf": [PROB, {"type": "null"}]}
INTERVAL = {"anyOf": [{"type": "null"}, {"type": "array", "items": PROB, "minItems": 2, "maxItems": 2}]}
REASON = {
    "enum": [None, "no_face", "too_few_faces", "too_small", "too_blurred", "out_of_range", "uncertain", "unreadable"]
}
RULES = ["fraction", "mean", "mean_logit", "confident_mean", "top", "learned"]
COUNT = {"type": "integer", "minimum": 0}
SECONDS = {"type": "number", "minimum": 0}


def closed(**properties: object) -> dict:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


FILE = closed(bytes=COUNT, modified_ns={"type": "integer"}, sha256={"type": ["string", "null"]})


def several(items: dict) -> dict:
    return {"type": "array", "items": items}


VERDICT = closed(
    schema_version={"const": 1},
    path={"type": "string"},
    input={"anyOf": [{"type": "null"}, FILE]},
    verdict={"enum": ["fake", "real", "undecided"]},
    reason=REASON,
    limit={"enum": [None, "min_side", "min_sharpness", "max_distance", "min_colour"]},
    learned_from={"type": ["string", "null"]},
    warnings=several({"type": "string"}),
    rule=closed(name={"enum": RULES}, threshold=PROB, score=MAYBE, real_below=MAYBE),
    probability=MAYBE,
    interval=INTERVAL,
    fraction=MAYBE,
    calibration={"enum": [None, "temperature", "platt", "isotonic"]},
    limits={"type": "object", "additionalProperties": {"type": "number"}},
    measured={
        "type": "object",
        "propertyNames": {"enum": ["side", "sharpness", "distance", "colour"]},
        "additionalProperties": closed(median={"type": "number"}, beyond=MAYBE),
    },
    thresholds=closed(frame=PROB, fraction=PROB, min_faces=COUNT),
    persons=several(
        closed(
            person=COUNT,
            faces=COUNT,
            verdict={"enum": ["fake", "real", "undecided"]},
            reason=REASON,
            score=PROB,
            probability=PROB,
            interval=INTERVAL,
            fraction=PROB,
            first=SECONDS,
            last=SECONDS,
        )
    ),
    faces=several(
        closed(
            frame=COUNT,
            time=SECONDS,
            person=COUNT,
            prob=PROB,
            box={"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
        )
    ),
    not_analysed=several(closed(what={"type": "string"}, detail={"type": "string"})),
    model={"type": "object", "required": ["name", "input", "generator", "sha256", "provenance", "mrigan"]},
)
_VALIDATOR = Draft202012Validator(several(VERDICT))


def check(verdicts: list[dict]) -> None:
    """Raise a ValidationError where the contract is broken."""
    _VALIDATOR.validate(verdicts)
