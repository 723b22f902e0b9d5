"""The code of docs/extending.md, as a reader of that page would have it."""

from __future__ import annotations

import re
from types import ModuleType

from tests.training.runs import ROOT


def code(section: str) -> ModuleType:
    """The code of a section, as a module."""
    text = (ROOT / "docs" / "extending.md").read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    module = ModuleType(section)
    exec(compile(block, f"docs/extending.md, {section}", "exec", dont_inherit=True), module.__dict__)
    return module
