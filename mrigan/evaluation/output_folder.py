"""Check the folder of a report before the work starts: files of other programs in it are not replaced."""

from __future__ import annotations

from pathlib import Path

from mrigan.files import try_output, writer_is_gone
from mrigan.outputs import PAGE, PICTURE, REPORT, Recognizer, begins, refuse_foreign


def scores_file(path: Path) -> bool:
    """Recognizes Parquet files of scores."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return {"model", "label", "prob"} <= set(pq.read_schema(path).names)
    except pa.ArrowException:
        return False


EVALUATION: dict[str, Recognizer] = {"index.html": PAGE, "metrics.json": REPORT, "scores.parquet": scores_file}
ROBUSTNESS: dict[str, Recognizer] = {
    "robustness.html": PAGE, "robustness.json": REPORT, "robustness.png": PICTURE, "robustness.parquet": scores_file,
    "robustness.csv": begins(b"model,corruption,severity,"),
}  # fmt: skip
FALSE_ALARMS: dict[str, Recognizer] = {
    "false-alarms.html": PAGE, "false-alarms.json": REPORT, "false-alarms.csv": begins(b"model,source,videos,"),
}  # fmt: skip
GANS: dict[str, Recognizer] = {"gan.html": PAGE}


def try_folder(out: Path, files: dict[str, Recognizer], force: bool = False) -> None:
    """Raise OutputError if the folder cannot be written, or if one of the files was written by another program.

    Also removes what a killed process left of earlier files.
    """
    for name, is_ours in files.items():
        refuse_foreign(out / name, is_ours, force)
    for name in files:
        try_output(out / name)
    for path in (*out.glob("figures/.*.tmp"), *out.glob("tables/*/.*.tmp")):
        if writer_is_gone(path):
            path.unlink(missing_ok=True)
