"""The scores table: what is refused, with the file and the row."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from mrigan.errors import InputError
from mrigan.evaluation import SCORES_SCHEMA, check_scores, read_scores, video_table, write_scores
from tests.evaluation.tables import random_table, table, video

GOOD = video("a.mp4", 0, [0.1, 0.2]) + video("b.mp4", 1, [0.8, 0.9]) + video("c.mp4", 1, [])


def _with(row: int, **values: object) -> pa.Table:
    """The good table with one row changed."""
    rows = [dict(zip(SCORES_SCHEMA.names, r, strict=True)) for r in GOOD]
    rows[row].update(values)
    return table([tuple(r.values()) for r in rows])


def test_a_file_comes_back_as_it_was_written(tmp_path):
    scores = check_scores(random_table())
    write_scores(scores, tmp_path / "scores.parquet")
    assert read_scores(tmp_path / "scores.parquet").equals(scores)


def test_csv_is_read_too_and_names_stay_text(tmp_path):
    scores = check_scores(table(video("0001", 0, [0.25]) + video("0002", 1, []) + video("0003", 1, [0.5, 0.75])))
    pyarrow.csv.write_csv(scores, tmp_path / "scores.csv")
    assert read_scores(tmp_path / "scores.csv").equals(scores)


def test_dictionary_columns_and_other_widths_are_taken():
    scores = check_scores(table(GOOD))
    narrow = scores.set_column(0, "dataset", scores["dataset"].dictionary_encode())
    narrow = narrow.set_column(8, "label", scores["label"].cast(pa.int64())).append_column("more", scores["name"])
    assert check_scores(narrow).equals(scores)


def test_the_brightness_of_mris_is_optional_and_checked(tmp_path):
    bright = pa.array([0.1, None, 0.0, 1.0, None])
    write_scores(table(GOOD), tmp_path / "older.parquet")
    assert read_scores(tmp_path / "older.parquet")["mri"].null_count == len(GOOD)
    scores = check_scores(table(GOOD).append_column("mri", bright))
    assert scores["mri"].to_pylist() == [0.0, 1.0, None, 0.1, None]  # sorted by method: b, c, a
    pyarrow.csv.write_csv(scores, tmp_path / "scores.csv")
    assert read_scores(tmp_path / "scores.csv").equals(scores)
    videos = video_table(scores)
    assert videos["mri"].to_pylist() == [0.5, None, 0.1]  # of the faces that have one
    for wrong, says in ((1.2, "within 0..1"), (float("nan"), "is NaN")):
        with pytest.raises(InputError, match=f"row 2.*mri .*{says}"):
            check_scores(table(GOOD).append_column("mri", pa.array([0.1, None, wrong, 1.0, None])))


def test_the_order_of_rows_does_not_matter():
    scores = random_table()
    assert check_scores(scores.take(list(range(scores.num_rows))[::-1])).equals(check_scores(scores))


@pytest.mark.parametrize(("broken", "says"), [
    (_with(1, prob=float("nan")), r"row 1, video dfdc/original/c23/a.mp4: prob is NaN"),
    (_with(1, logit=float("nan")), r"row 1.*logit is NaN"),
    (_with(1, prob=None), r"row 1.*prob is missing"),
    (_with(1, logit=None), r"row 1.*logit is missing"),
    (_with(1, prob=1.5), r"row 1.*prob is not within 0..1"),
    (_with(1, logit=2.0, prob=0.1), r"row 1.*logit 2 and prob 0.1 contradict.*sigmoid of the logit is 0.880797"),
    (_with(1, logit=float("-inf"), prob=0.1), r"row 1.*contradict"),
    (_with(2, label=2), r"row 2.*label is not 0 \(real\) or 1 \(fake\)"),
    (_with(2, label=-1), r"row 2.*label is not 0"),
    (_with(2, name=None), r"row 2.*name is missing"),
    (_with(2, model=None), r"row 2.*model is missing"),
    (_with(3, label=0), r"video dfdc/deepfakes/c23/b.mp4 has two labels: 1 in row 2, 0 in row 3"),
    (_with(3, split="val"), r"b.mp4 has two splits: 'test' in row 2, 'val' in row 3"),
    (_with(3, frame=0), r"row 2 and row 3 are one face scored twice by m: video .*b.mp4, frame 0, person 0"),
    (_with(3, frame=-1, prob=None, logit=None), r"row 3.*says that no face was found"),
    (_with(4, prob=0.0), r"row 4.*frame = -1 \(no face found\) has a prob"),
    (table(GOOD).drop_columns(["prob", "model"]), r"lack the columns prob, model"),
    (table(GOOD).slice(0, 0), r"empty"),
    (table(GOOD).set_column(8, "label", pa.array(["fake"] * 5)), r"column label is string, not int8"),
    (table(GOOD).set_column(8, "label", pa.array([0.5] * 5)), r"column label is double, not int8"),
])  # fmt: skip
def test_a_wrong_table_is_refused_with_file_and_row(broken, says, tmp_path):
    pq.write_table(broken, tmp_path / "broken.parquet")
    with pytest.raises(InputError, match=says) as error:
        read_scores(tmp_path / "broken.parquet")
    assert str(tmp_path / "broken.parquet") in str(error.value.where)


def test_probabilities_rounded_to_two_digits_pass():
    rows = [(*row[:10], round(row[10], 2) if row[10] is not None else None, row[11]) for row in random_table_rows()]
    assert check_scores(table(rows)).num_rows == len(rows)


def random_table_rows() -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in random_table().to_pylist()]


def test_among_several_files_the_right_one_is_named(tmp_path):
    for name, part in {"a": table(GOOD), "b": table(video("d.mp4", 1, [0.3]) + GOOD[2:4])}.items():
        pq.write_table(part, tmp_path / f"{name}.parquet")
    with pytest.raises(InputError, match=r"row 2 of .*a\.parquet and row 1 of .*b\.parquet are one face scored twice"):
        read_scores([tmp_path / "a.parquet", tmp_path / "b.parquet"])


def test_one_label_a_video_whichever_model_scored_it():
    rows = video("a", 1, [0.5], method="x", model="m") + video("a", 0, [0.5], method="x", model="n")
    with pytest.raises(InputError, match="two labels"):
        check_scores(table(rows))


@pytest.mark.parametrize("content", [b"", b"not a table", b"PAR1 broken PAR1"])
@pytest.mark.parametrize("name", ["x.parquet", "x.csv"])
def test_a_file_that_is_no_table(tmp_path: Path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        read_scores(tmp_path / name)
    assert error.value.where == tmp_path / name


def test_a_missing_file_and_no_file(tmp_path):
    with pytest.raises(InputError, match="no such score file"):
        read_scores(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="no score file was given"):
        read_scores([])
