"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

FORCE = "Replace output files that Mrigan did not write."
ForceOption = Annotated[bool, typer.Option("--force", help=FORCE)]
