"""Options of commands from dataclasses: each field with a help text is an option, listed and explained in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_type_hints

import typer

RULES = ("metavar", "min")  # of a field's metadata, for `typer.Option`


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with an option for each field of its dataclass parameters."""
    parameters: list[Parameter] = []
    groups: dict[str, tuple[Any, list[str]]] = {}
    for parameter in signature(command, eval_str=True).parameters.values():
        kind = parameter.annotation
        if is_dataclass(kind):
            options = _options(kind)
            groups[parameter.name] = kind, [one.name for one in options]
            parameters += options
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))

    @wraps(command)
    def run(**values: Any) -> None:
        for name, (kind, names) in groups.items():
            values[name] = kind(**{field: values.pop(field) for field in names})
        command(**values)

    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _options(kind: Any) -> list[Parameter]:
    hints = get_type_hints(kind)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=Annotated[hints[field.name], _option(field.name, field.metadata)],
        )
        for field in fields(kind)
        if "help" in field.metadata
    ]


def _option(name: str, metadata: Mapping[str, Any]) -> Any:
    rules = {rule: metadata[rule] for rule in RULES if rule in metadata}
    return typer.Option(*(metadata["flags"] or (f"--{name.replace('_', '-')}",)), help=metadata["help"], **rules)
