"""Wirings as Python code, and sentences about the differences between two wirings."""

from __future__ import annotations

from reddiff.interop.vocabulary import path_of
from reddiff.priors.network_prior import Units
from reddiff.priors.paths import Chain, ContinuousVP, EDMInput, Path, Unscaled
from reddiff.priors.predictions import (
    X0,
    EDMOutput,
    Eps,
    Prediction,
    ScaledScore,
    Score,
    V,
    Velocity,
)
from reddiff.priors.straight import Straight
from reddiff.probing.paths import Rescaled, Retimed, Reversed, Shifted, same_path
from reddiff.probing.variants import Variant

WORDS: dict[type[Prediction], str] = {
    Eps: "eps",
    V: "v",
    X0: "x0",
    Score: "score",
    ScaledScore: "scaled-score",
    Velocity: "flow",
    EDMOutput: "edm",
}
MEANT = {
    "eps": "the noise",
    "v": "v",
    "x0": "x_0",
    "score": "the score",
    "scaled-score": "the score times the noise level",
    "flow": "a velocity",
    "edm": "F of EDM's preconditioning",
    "denoiser": "D(x, sigma), its own estimate",
}


def word(variant: Variant) -> str:
    """The name of the prediction in `reddiff.prior`."""
    name = WORDS.get(type(variant.prediction), type(variant.prediction).__name__)
    return "denoiser" if name == "x0" and isinstance(variant.path, Unscaled) else name


def code(variant: Variant) -> str:
    """Python code that creates the prior of a wiring from a network `net`."""
    lines, net = [], "net"
    channels = variant.like.shape[0]
    if variant.second:
        lines.append(f"second = lambda x, t: {net}(x, t)[:, {channels}:]")
        net = "second"
    if variant.flipped:
        lines.append(f"flipped = lambda x, t: {net}(x.flip(1), t)[:, :{channels}].flip(1)")
        net = "flipped"
    inner = variant.path
    while isinstance(inner, Retimed):
        net, inner = _told(net, inner), inner.path
    path = schedule(inner, word(variant))
    parts = [net, f'prediction="{word(variant)}"']
    parts += [f"schedule={path}"] if path else []
    sigma_data = inner.sigma_data if isinstance(inner, EDMInput) else 0.5
    parts += [f"sigma_data={sigma_data:g}"] if sigma_data != 0.5 else []
    parts += [_values(variant.units)] if variant.units is not None else []
    parts.append(f"shape={variant.like.shape}")
    parts += [f"multiple={variant.like.multiple}"] if variant.like.multiple > 1 else []
    return "\n".join([*lines, f"reddiff.prior({', '.join(parts)})"])


def _told(net: str, path: Retimed) -> str:
    """Python code of a network with another time."""
    if isinstance(path, Rescaled):
        return f"lambda x, t: {net}(x, {path.factor:g} * t)"
    if isinstance(path, Reversed):
        return f"lambda x, t: {net}(x, {len(path.path.log_levels) - 1} - t)"
    return f"lambda x, t: {net}(x, time_of({path.factor:g} * level_of(t)))"


def schedule(path: Path, prediction: str) -> str:
    """The schedule argument of `reddiff.prior` for a path; empty if the prediction implies it."""
    names: dict[str, object] = {}
    if isinstance(path, Straight):
        names = {"data_at": path.data_at} if path.data_at else {}
        names |= {"times": path.times} if path.times != 1 else {}
        return _named("flow", names) if names or prediction != "flow" else ""
    if isinstance(path, EDMInput):
        return "" if prediction == "edm" else '"edm"'
    if isinstance(path, Unscaled):
        names = {"log_time": True} if path.log_time else {}
        return "" if prediction == "denoiser" and not names else _named("ve", names)
    if isinstance(path, ContinuousVP):
        return _named("vp", {"times": path.times} if path.times != 1 else {})
    if isinstance(path, Chain):
        steps = len(path.log_levels)
        for name in ("linear", "scaled-linear", "cosine"):
            if same_path(path_of({"name": name, "steps": steps}, "eps"), path):
                names = {"steps": steps} if abs(steps - 1000) > 1 else {}
                names |= {"integer_time": True} if path.integer_time else {}
                return _named(name, names)
        return "abar"
    return "path"


def _named(name: str, numbers: dict[str, object]) -> str:
    return repr({"name": name} | numbers).replace("'", '"') if numbers else f'"{name}"'


def _values(units: Units) -> str:
    if units.offset.ndim == 0:
        low, high = float(units.offset) - units.scale, float(units.offset) + units.scale
        return f"values=({low:g}, {high:g})"
    std = 0.5 / units.scale
    means = [round(0.5 - float(c) * std, 6) for c in units.offset.flatten()]
    return f"mean={means}, std={[std] * len(means)}"


def differences(before: Variant, after: Variant) -> list[tuple[str, str]]:
    """Names and sentences of the mistakes in `before`, given the better variant `after`."""
    found = []
    old, new = word(before), word(after)
    pair = {type(before.prediction), type(after.prediction)}
    if pair == {EDMOutput, X0} and "denoiser" in (old, new):
        twice = new == "denoiser"
        found.append(
            (
                "preconditioning",
                "EDM's preconditioning is applied twice: the network has it already and returns "
                'D(x, sigma); use prediction="denoiser".'
                if twice
                else "EDM's preconditioning is missing: the network returns the raw F; use "
                'prediction="edm".',
            )
        )
    elif pair == {EDMOutput} and before.path is not after.path:
        found.append(("preconditioning", f"EDM's sigma_data is different: {code(after)}."))
    else:
        if type(before.prediction) is not type(after.prediction):
            sentence = f"the network predicts {MEANT[new]} ({new}), not {MEANT[old]} ({old})."
            found.append(("prediction", sentence))
        if before.path is not after.path:
            found.append(("schedule", _path_words(before, after)))
    if before.units is not after.units:
        values = "(-1, 1)" if after.units is None else _values(after.units).removeprefix("values=")
        found.append(("values", f"the network expects pixels in the range {values}."))
    if before.flipped != after.flipped:
        found.append(("channels", "the channels are in reverse order (RGB and BGR)."))
    if before.second != after.second:
        sentence = "the estimate is the second half of the output's channels, not the first."
        found.append(("learned-sigma", sentence))
    return found


def _path_words(before: Variant, after: Variant) -> str:
    path = after.path
    if isinstance(path, Shifted):
        return f"the schedule is shifted: the network expects {path.factor:g} times the level."
    if isinstance(path, Reversed):
        return "the network counts its steps from the noisy end."
    if isinstance(path, Rescaled):
        return f"the network expects {path.factor:g} times the time it is given."
    old = schedule(before.path, word(before)) or f"that of {word(before)}"
    new = schedule(path, word(after)) or f"that of {word(after)}"
    return f"the schedule is {new}, not {old}."
