"""`python -m tests.models.hostile_files GOOD_MODEL SCRATCH`: load models with hostile files, and print what is said.

A process of its own, with 6 GB of address space: what allocates more than a model of some kB is worth fails here.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from mrigan.errors import MriganError
from mrigan.files import sha256_file
from mrigan.models import load_bundle
from mrigan.weights import read_weights

LIMIT = 6 << 30
HUGE_SHAPE = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}'
IMPOSSIBLE = ({"size": 4096, "width": 1024}, {"size": 10**9}, {"size": 17}, {"dropout": float("nan")}, {"width": "4"})
WEIGHTS = ("detector.safetensors", "generator.safetensors", "familiarity.safetensors")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def circle(path: Path) -> None:
    path.symlink_to(path)


def nowhere(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


def a_folder(path: Path) -> None:
    path.mkdir()


def sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(50 << 30)


def with_header(header: bytes, length: int | None = None, rest: int = 0) -> Callable[[Path], None]:
    size = len(header) if length is None else length
    return lambda path: path.write_bytes(size.to_bytes(8, "little") + header + bytes(rest)) and None


def empty_tensor(name: str) -> str:
    return f'{json.dumps(name)}:{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'


def relisted(folder: Path, name: str) -> None:
    """Let model.json list the file as it is now."""
    meta = json.loads((folder / "model.json").read_text())
    meta["files"][name] = {"sha256": sha256_file(folder / name), "bytes": (folder / name).stat().st_size}
    (folder / "model.json").write_text(json.dumps(meta))


def unlisted_length(folder: Path, name: str) -> None:
    meta = json.loads((folder / "model.json").read_text())
    meta["files"][name].pop("bytes")
    (folder / "model.json").write_text(json.dumps(meta))


def changed_tensors(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(path)
    change(tensors)
    path.unlink()
    save_file(tensors, path)


def generator_of(**facts: object) -> Callable[[Path], None]:
    known = {"format": "mrigan-generator", "format_version": 1, "size": 16, "width": 4, "dropout": 0.5}
    header = json.dumps({"__metadata__": {"mrigan": json.dumps(known | facts)}}).encode()
    return with_header(header)


def compressed(path: Path) -> None:
    torch.save({"a": torch.zeros(1 << 20)}, path)
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(path.with_suffix(".x"), "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    path.with_suffix(".x").rename(path)


def expanded(path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, path)


def main(good: Path, scratch: Path) -> None:
    said: dict[str, str] = {}

    def case(name: str, file: str, make: Callable[[Path], None], keep: bool = False, relist: bool = False) -> None:
        folder = scratch / "model"
        shutil.copytree(good, folder)
        if not keep:
            (folder / file).unlink()
        make(folder / file)
        if relist:
            relisted(folder, file)
        elif file != "model.json":
            unlisted_length(folder, file)
        said[f"{file}: {name}"] = outcome(lambda: load_bundle(folder))
        shutil.rmtree(folder)

    def outcome(work: Callable[[], object]) -> str:
        try:
            work()
        except MriganError as error:
            return f"{type(error).__name__}: {error}"
        except Exception as error:  # noqa: BLE001 - a traceback is what must not be
            return f"traceback: {error!r}"
        return "taken"

    for make in (pipe, endless, circle, nowhere, a_folder, sparse):
        for file in ("model.json", *WEIGHTS):
            case(make.__name__, file, make)
    many = ("{" + ",".join(empty_tensor(f"t{i}") for i in range(200_000)) + "}").encode()
    for name, make in {
        "a header of 2^63 bytes": with_header(b"{}", length=1 << 63),
        "a header longer than the file": with_header(b"{}", length=100),
        "200,000 tensors": with_header(many),
        "steering names": with_header(("{" + empty_tensor("\x1b[31m[red]\u202e") + "}").encode()),
        "a name twice": with_header(("{" + empty_tensor("a") + "," + empty_tensor("a") + "}").encode()),
        "a shape beyond the file": with_header(
            b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}', rest=4
        ),
        "a negative shape": with_header(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', rest=4),
        "no tensors": with_header(b"{}"),
        "empty": lambda path: path.touch(),
    }.items():
        case(name, "detector.safetensors", make, relist=True)
    name = "head.0.weight"
    for kind, change in {
        "NaN": lambda tensors: tensors[name].view(-1)[3:4].fill_(float("nan")),
        "infinite": lambda tensors: tensors[name].view(-1)[3:4].fill_(float("-inf")),
        "another shape": lambda tensors: tensors.update({name: torch.zeros(8, 7)}),
        "another precision": lambda tensors: tensors.update({name: tensors[name].bfloat16()}),
        "one missing": lambda tensors: tensors.pop(name),
        "one more": lambda tensors: tensors.update(more=torch.zeros(1)),
    }.items():
        make = partial(changed_tensors, change=change)
        case(kind, "detector.safetensors", make, keep=True, relist=True)
    for facts in IMPOSSIBLE:
        case(str(facts), "generator.safetensors", generator_of(**facts), relist=True)
    for make in (pipe, compressed, expanded):
        make(scratch / "weights.pt")
        said[f"weights.pt: {make.__name__}"] = outcome(lambda: read_weights(scratch / "weights.pt"))
        (scratch / "weights.pt").unlink()
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    main(Path(sys.argv[1]), Path(sys.argv[2]))
