"""`reddiff.prior`: make a prior from a network, a file, a folder or a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.interop.diffusers import (
    Pipeline,
    folder_prior,
    is_folder,
    is_network,
    network_prior,
    pipeline_prior,
)
from reddiff.interop.onnx import onnx_prior
from reddiff.interop.weights import load_weights
from reddiff.interop.wiring import Wiring
from reddiff.priors.base import Prior
from reddiff.priors.named import PRIORS

PICKLES = ".pt", ".pth", ".ckpt", ".pkl", ".bin"


@dataclass(frozen=True)
class Source:
    """A kind of source.

    Arguments:
        words: Its name in messages; empty if it is refused.
        knows: Whether an object is of this kind.
        load: Makes the prior, from the object and what the caller declared.
    """

    words: str
    knows: Callable[[Any], bool]
    load: Callable[[Any, Wiring], Prior]


def _ended(*ends: str) -> Callable[[Any], bool]:
    """Whether an object is a path with one of these endings."""
    return lambda source: isinstance(source, str | Path) and str(source).lower().endswith(ends)


def _is_name(source: Any) -> bool:
    return isinstance(source, str) and source in PRIORS


def _as_it_is(source: Prior, declared: Wiring) -> Prior:
    _check_nothing(declared, type(source).__name__)
    return source


def _by_name(source: str, declared: Wiring) -> Prior:
    _check_nothing(declared, source)
    return PRIORS[source].make()


def _check_nothing(declared: Wiring, name: str) -> None:
    """Raise InvalidArgument for arguments that a complete prior does not need."""
    said = list(declared.to_json())
    require(not said, ", ".join(said), expected=f"nothing more about {name}", got="a value")


def _refused(source: str | Path, declared: Wiring) -> Prior:
    expected = f"a .safetensors file (reddiff convert {source} model.safetensors makes one of it)"
    got = f"{source}, a pickle, which may run code when it is read"
    raise InvalidArgument("prior", expected=expected, got=got)


# The first kind that knows the source loads it. A new kind is a line here and a file in this
# folder.
SOURCES = [
    Source("a Prior", lambda source: isinstance(source, Prior), _as_it_is),
    Source(f"one of {', '.join(PRIORS)}", _is_name, _by_name),
    Source("a .safetensors file", _ended(".safetensors"), load_weights),
    Source("an .onnx file", _ended(".onnx"), onnx_prior),
    Source("", _ended(*PICKLES), _refused),
    Source("a folder of diffusers", is_folder, folder_prior),
    Source("a pipeline", lambda source: isinstance(source, Pipeline), pipeline_prior),
    Source("a network of diffusers", is_network, network_prior),
    Source("a module or function", callable, lambda source, declared: declared.prior(source)),
]


def prior(
    source: Any,
    *,
    prediction: str | None = None,
    schedule: object = None,
    shape: Sequence[int | None] | None = None,
    values: Sequence[float] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    multiple: int | None = None,
    levels: Sequence[float] | None = None,
    sigma_data: float | None = None,
    classes: int | None = None,
    embedding: Sequence[int | None] | None = None,
    null: int | Tensor | None = None,
) -> Prior:
    """A diffusion prior from a network, a file, a folder or a name.

    Arguments that the source itself defines can be omitted; if given, they take precedence.

    Arguments:
        source: "photo", "ffdnet", a `.safetensors` file that `reddiff convert` or `reddiff train`
            wrote, an `.onnx` file, a network, pipeline or folder of diffusers, a module or function
            `net(x_t, t)`, or a `Prior`, which is returned unchanged.
        prediction: What the network predicts: "eps" (the noise), "v", "x0", "score" (the gradient
            of ln p(x_t)), "scaled-score" (the score times the noise level, as in EDM's VE), "flow"
            (a velocity), "edm" (F of EDM's preconditioning) or "denoiser" (D(x, sigma): EDM's
            preconditioned network, Gaussian denoisers, consistency models). diffusers' "epsilon",
            "v_prediction", "sample" and "flow_prediction" are accepted too.
        schedule: How x_t and t depend on the noise level: the vector of alpha^2 of a chain (the
            products of 1 - beta; a list, an array or a tensor), "linear" (DDPM, ADM),
            "scaled-linear" (Stable Diffusion), "cosine", "vp" (t in (0, 1]), "ve" (t = sigma) or
            "flow" (data at t = 0), a dict of such a name and its parameters, such as {"name":
            "flow", "data_at": 1, "times": 1000}, or a `Path`. Not needed for "flow", "edm" and
            "denoiser".
        shape: The shape of one x, with None for sides of any length: `(3, None, None)`.
        values: The range of pixel values of the network, (-1, 1) by default. Solvers always use x
            in [-1, 1]. (-inf, inf) is for data other than pictures; x is then passed unchanged.
        mean: Instead of values: the network was trained on (pixel - mean) / std, for pixels in [0,
            1].
        std: See mean; the same number for all channels.
        multiple: The sides of x are padded to multiples of this number for the network.
        levels: The lowest and the highest sigma / alpha that the network was trained for, in its
            own units; by default those of the schedule.
        sigma_data: The standard deviation in EDM's preconditioning, 0.5 by default.
        classes: The number of labels of a network that is called as `net(x_t, t, label)`; see
            `Prior.given`.
        embedding: The shape of one embedding, for `net(x_t, t, embedding)`.
        null: The label or embedding of the unconditional network, for guidance.

    Raises:
        InvalidArgument: If the source is of an unknown kind, or an argument does not fit it.
        WeightsError: If a file is damaged, or its tensors do not match its network.
    """
    declared = Wiring(
        prediction=prediction,
        schedule=schedule,
        shape=shape,
        values=values,
        mean=mean,
        std=std,
        multiple=multiple,
        levels=levels,
        sigma_data=sigma_data,
        classes=classes,
        embedding=embedding,
        null=null,
    )
    for kind in SOURCES:
        if kind.knows(source):
            return kind.load(source, declared)
    *some, last = [kind.words for kind in SOURCES if kind.words]
    expected = f"{', '.join(some)} or {last}"
    got = source if isinstance(source, str | Path) else type(source).__name__
    raise InvalidArgument("prior", expected=expected, got=got)
