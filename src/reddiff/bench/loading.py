"""Read a spec from a file or by its name, with one-line errors."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from reddiff.bench import spec as models
from reddiff.bench.exact_priors import FieldPrior, MixturePrior, WalkPrior
from reddiff.bench.methods import DEGRADED
from reddiff.bench.spec import Spec, expanded
from reddiff.bench.spec_names import check_names
from reddiff.errors import InvalidArgument, require_name
from reddiff.files import read_regular
from reddiff.solvers.catalogue import METHODS

CATALOGUE = "catalogue"  # instead of solvers: all solvers
MOST_BYTES = 1 << 20
SHIPPED = files("reddiff") / "bench" / "specs"


def shipped() -> list[str]:
    """The names of the specs in the package."""
    names = [path.name for path in SHIPPED.iterdir()]
    return sorted(n.removesuffix(".yaml") for n in names if n.endswith(".yaml"))


def load_spec(
    source: str,
    priors: Sequence[str] = (),
    *,
    files: Sequence[str] | None = None,
    size: int | None = None,
    batch: int | None = None,
) -> Spec:
    """The spec in a file, or the one of this name in the package, with expanded grids.

    Arguments:
        source: The file or name.
        priors: `LABEL=SOURCE` for priors of the spec.
        files: Images to use instead of those of the spec.
        size: The side of the images; None for that of the spec.
        batch: The size of batches; None for that of the spec.

    Raises:
        InvalidArgument: If a key is wrong; the message names it.
        PictureError: If the file cannot be read.
    """
    if "/" in source or source.endswith((".yaml", ".yml")):
        text = read_regular(source, MOST_BYTES).decode("utf-8", "replace")
    else:
        require_name(source, shipped(), "SPEC", "a file.yaml or one of the specs of the package")
        text = (SHIPPED / f"{source}.yaml").read_text()
    name = Path(source).name
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidArgument(name, expected="YAML", got=" ".join(str(error).split())) from error
    if not isinstance(read, dict):
        raise InvalidArgument(name, expected="a mapping of keys", got=type(read).__name__)
    read.setdefault("name", Path(source).stem)
    found = parsed(read, name)
    check_names(found)
    images = found.images
    if files:
        images = images.model_copy(update={"files": tuple(files), "photos": (), "drawn": 0})
    if size is not None:
        images = images.model_copy(update={"size": size})
    changes = {
        "images": images,
        "priors": _sources(found, priors),
        "batch": found.batch if batch is None else batch,
        "solvers": expanded(found.solvers),
    }
    return found.model_copy(update=changes)


def _sources(found: Spec, given: Sequence[str]) -> dict[str, models.Prior]:
    """The priors, with the sources that the user gave."""
    priors = dict(found.priors)
    for text in given:
        label, sign, source = text.partition("=")
        if not (sign and source):
            raise InvalidArgument("prior", expected="LABEL=SOURCE", got=repr(text))
        require_name(label, priors, "prior", "a prior of the spec")
        priors[label] = models.Prior(source=source)
    return priors


def parsed(read: dict[str, Any], name: str) -> Spec:
    """The spec from plain data.

    Raises:
        InvalidArgument: If a key is wrong; the message names the first.
    """
    priors = read.get("priors")
    if isinstance(priors, dict):  # a string is the source
        plain = {k: v if isinstance(v, dict) else {"source": v} for k, v in priors.items()}
        read = read | {"priors": plain}
    if isinstance(read.get("solvers"), str):
        read = read | {"solvers": _solvers_of(read["solvers"])}
    try:
        return Spec.model_validate(read)
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"]]
        where = f"{name}: {'.'.join(place)}"
        if first["type"] == "extra_forbidden":
            require_name(place[-1], _keys(place[:-1]), where, "a known key")
        missing = first["type"] == "missing"
        expected = "a value" if missing else first["msg"].removeprefix("Input should be ")
        got = "none" if missing else repr(first["input"])
        raise InvalidArgument(where, expected=expected, got=got) from error


def _solvers_of(name: str) -> Any:
    """The solvers of the catalogue, or those of a spec of the package."""
    if name == CATALOGUE:
        return {name: {"solver": name} for name in (DEGRADED, *METHODS)}
    require_name(name, (CATALOGUE, *shipped()), "solvers", "a mapping, catalogue, or a spec")
    return yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())["solvers"]


def _keys(place: list[str]) -> list[str]:
    """The keys of the part of a spec at this place."""
    kinds: dict[str, type[BaseModel]] = {
        "priors": models.Prior,
        "images": models.Images,
        "tasks": models.Task,
        "expect": models.Expectation,
        "published": models.Published,
    }
    exact: dict[str, type[BaseModel]] = {
        "field": FieldPrior,
        "mixture": MixturePrior,
        "walk": WalkPrior,
    }
    if place and place[-1] in exact:
        return list(exact[place[-1]].model_fields)
    return list((kinds[place[0]] if place else Spec).model_fields)
