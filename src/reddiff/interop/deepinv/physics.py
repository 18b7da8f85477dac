"""An operator from a physics: an object with A and, if it is linear, A_adjoint, as in deepinv."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, require
from reddiff.interop.deepinv.calls import Swapped
from reddiff.interop.deepinv.closed import closed_function, known_operator
from reddiff.operators.base import Operator, Shape
from reddiff.operators.custom.candidate import Candidate
from reddiff.operators.custom.gradients import Map
from reddiff.operators.custom.validation import call
from reddiff.random import drawn


@torch.no_grad()
def physics_operator(
    physics: Any,
    *,
    y: Tensor | None = None,
    x_shape: Shape | None = None,
    example: Tensor | None = None,
    lanes: Sequence[str] = (),
) -> Operator:
    """The operator A of a physics, without its noise; the physics itself moves with it.

    If this library has an equal operator (`Mask`, `CircularBlur`), or the physics has a singular
    value decomposition, the result is spectral. Otherwise it calls `A` and `A_adjoint`, and
    `prox_l2` if that is exact. All of this is found by tests on random numbers.

    Arguments:
        physics: A `deepinv.physics.Physics`, or anything with `A` and, if linear, `A_adjoint`.
        y: A measurement `(b, ...)`, if there is one; defines shape, dtype and device.
        x_shape: The shape of one x; by default that of A^T y, or `physics.img_size`, or that of y.
        example: An example of x `(b, ...)`, instead of both.
        lanes: The names of the buffers or parameters that have one entry per image, such as
            `("mask",)` after `physics.update(mask=masks)`.

    Raises:
        InvalidArgument: If `physics` has no `A`, is complex or fails validation; or if one x gives
            several y and `lanes` is not given (the message lists the candidates).
    """
    is_physics = callable(getattr(physics, "A", None))
    expected = "an object with A, such as a deepinv Physics"
    require(is_physics, "physics", expected=expected, got=type(physics).__name__)
    linear = hasattr(physics, "A_adjoint_A" if hasattr(physics, "noise_model") else "A_adjoint")
    x = _example(physics, y, x_shape, example, linear)
    if x is None:
        return _functions(physics, linear, None, (), ()).operator(linear)
    x = drawn(x) if linear else x  # the example may be zeros
    names = tuple(lanes)
    given = _per_lane(physics, x, names)
    x = x[torch.arange(len(given[0]) if given else 2, device=x.device) % len(x)]
    if linear:
        known = known_operator(physics, x, names, given)
        if known is not None:
            return known
    made = _functions(physics, linear, x, names, given).operator(linear)
    return (closed_function(physics, made, x, names) or made) if linear else made


def _functions(
    physics: Any, linear: bool, x: Tensor | None, names: Sequence[str], given: tuple[Tensor, ...]
) -> Candidate:
    parts = [physics] if isinstance(physics, nn.Module) else []
    functions: dict[str, Map | None] = {
        "forward": Swapped(physics, "A", tuple(names)),
        "adjoint": Swapped(physics, "A_adjoint", tuple(names)) if linear else None,
        "vjp": None,
        "jvp": None,
    }
    return Candidate(functions, None, x, given, parts, numpy=False)


def _example(
    physics: Any, y: Tensor | None, x_shape: Shape | None, example: Tensor | None, linear: bool
) -> Tensor | None:
    """An x on which to test the physics, if its shape is known."""
    if example is not None:
        fits = x_shape is None or tuple(x_shape) == tuple(example.shape[1:])
        require(fits, "example", expected=f"shape (b, *{x_shape})", got=tuple(example.shape))
        return example
    like = _like(physics) if y is None else y
    b = 2 if y is None else max(2, len(y))  # a single lane would not show it
    size = getattr(physics, "img_size", None)
    sized = isinstance(size, Sequence) and all(isinstance(n, int) for n in size)
    if x_shape is not None:
        shape = tuple(x_shape)
    elif linear and y is not None:
        shape = tuple(call("physics.A_adjoint", Swapped(physics, "A_adjoint"), y).shape[1:])
    elif sized and y is not None:
        shape = tuple(size or ())
    elif y is not None:
        shape = tuple(y.shape[1:])
    else:
        return None
    x = drawn(like.new_empty(b, *shape))
    if y is not None:
        made = tuple(call("physics.A", Swapped(physics, "A"), x).shape[1:])
        expected = f"that of an x whose measurement has shape (b, *{tuple(y.shape[1:])})"
        got = f"{shape}, whose measurement has shape (b, *{made})"
        require(made == tuple(y.shape[1:]), "x_shape", expected=expected, got=got)
    return x


def _per_lane(physics: Any, x: Tensor, names: tuple[str, ...]) -> tuple[Tensor, ...]:
    """The parameters of these names; an error if there are none and one x gives several y."""
    named: dict[str, Tensor] = {}
    if isinstance(physics, nn.Module):
        named = dict([*physics.named_buffers(), *physics.named_parameters()])
    unknown = [name for name in names if name not in named]
    expected = f"names of buffers or parameters of the physics: {', '.join(named) or 'none'}"
    require(not unknown, "lanes", expected=expected, got=unknown)
    if names:
        return tuple(named[name].detach() for name in names)
    try:
        count = len(Swapped(physics, "A")(x[:1]))
    except Exception as error:  # reported by the validation, which uses all lanes
        if len(x) == 1:
            got = f"{type(error).__name__}: {error}"
            raise InvalidArgument("physics", expected="A(x) to run", got=got) from error
        count = len(x)
    if count > 1:
        likely = [
            name
            for name, tensor in named.items()
            if not name.startswith("noise_model.") and tensor.ndim > 0 and len(tensor) == count
        ]
        expected = "the names of the parameters that differ between images, such as "
        expected += (
            f"lanes=({likely[0] if likely else 'mask'!r},), of {', '.join(likely) or 'none'}"
        )
        raise InvalidArgument("lanes", expected=expected, got=f"() and {count} y of one x")
    return ()


def _like(physics: Any) -> Tensor:
    tensors = physics.buffers() if isinstance(physics, nn.Module) else ()
    return next((t for t in tensors if t.is_floating_point()), torch.empty(0))
