"""Options of commands: those of `Settings`, and those shared by several commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from reddiff.images.settings import Degradation, Settings, options

S = TypeVar("S", bound=Degradation)


def with_settings(kind: type[S]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator that adds an option for each field of `kind`, and passes them as `settings`.

    Arguments:
        kind: `Settings` or `Degradation`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def called(**words: Any) -> None:
            given = {f.name: words.pop(f.name) for f in fields(kind)}
            command(settings=kind(**given), **words)

        own = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for name, parameter in own.parameters.items():
            parameters += _options(kind) if name == "settings" else [parameter]
        parameters.sort(key=lambda p: p.default is not p.empty)  # required ones first
        parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in parameters]
        vars(called)["__signature__"] = own.replace(parameters=parameters)
        called.__annotations__ = {p.name: p.annotation for p in parameters}
        return called

    return decorate


def _options(kind: type[Degradation]) -> list[inspect.Parameter]:
    found = []
    for field in fields(kind):
        option = field.metadata["option"]
        word = option.kind if field.default is not None else option.kind | None
        flag = f"--{field.name.replace('_', '-')}"
        info = typer.Option(flag, help=option.help, metavar=option.metavar)
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        keyword = inspect.Parameter.KEYWORD_ONLY
        annotation = Annotated[word, info]  # type: ignore[valid-type]
        found.append(inspect.Parameter(field.name, keyword, default=default, annotation=annotation))
    return found


def some_path(given: str | Path) -> Path:
    """A path that is not empty: `Path("")` would be the current folder. Also parses defaults."""
    text = str(given) if isinstance(given, Path) else given
    if not text or "\0" in text:
        raise typer.BadParameter("expected the name of a file or folder, got an empty one")
    return Path(text)


Recursive = Annotated[
    bool, typer.Option("--recursive", help="Also search sub-folders, and keep their structure.")
]
Batch = Annotated[
    str,
    typer.Option(
        "--batch",
        metavar="N",
        help="Pictures of one size that are solved as one batch, or auto, by size and memory. The "
        "pixels do not depend on it.",
    ),
]
Ext = Annotated[
    list[str] | None,
    typer.Option(
        "--ext", metavar="EXT", help="Only pictures with these extensions, such as png,tif."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
KeepDiverged = Annotated[
    bool,
    typer.Option("--keep-diverged", help="Write the last finite estimate of a run that diverged."),
]
PriorName = Annotated[str, typer.Option("--prior", help=options(Settings)["prior"].help)]
Only = Annotated[
    str | None,
    typer.Option(
        "--only", metavar="KEY=VALUE,...", help="Select a part, such as solver=default,task=sr4."
    ),
]
Record = Annotated[
    Path,
    typer.Argument(
        parser=some_path, metavar="RECORD", help="A record that `reddiff restore` wrote."
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Random seed.")]
