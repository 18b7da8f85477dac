"""Closed forms of a linear physics, each verified on random numbers."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reddiff.errors import InvalidArgument
from reddiff.interop.deepinv.calls import Swapped
from reddiff.lanes import norm, per_lane
from reddiff.operators.blur.circular import CircularBlur
from reddiff.operators.checks.measures import DotTest, exact
from reddiff.operators.custom.functions import LinearFunction, Own
from reddiff.operators.custom.infer import fixed
from reddiff.operators.linear import ClosedForm, LinearOperator
from reddiff.operators.mask import Mask
from reddiff.operators.spectral import SpectralOperator
from reddiff.random import drawn

_SVD = ("U", "U_adjoint", "V", "V_adjoint")


def known_operator(
    physics: Any, x: Tensor, names: tuple[str, ...], given: tuple[Tensor, ...]
) -> LinearOperator | None:
    """A spectral operator equal to the physics, if there is one."""
    a = physics.A(x)
    for make in (_mask, _blur, _decomposed):
        try:
            operator = make(physics, x, names, given)
            if operator is not None and _same(operator(x), a) and _sound(operator, x, a):
                return operator
        except (InvalidArgument, RuntimeError, ValueError, TypeError, NotImplementedError):
            continue  # it is not of this kind
    return None


def closed_function(
    physics: Any, made: Any, x: Tensor, names: tuple[str, ...]
) -> LinearOperator | None:
    """The operator with `prox_l2` as its regularized inverse, if that is exact."""
    kinds = [kind for kind in type(physics).__mro__ if "prox_l2" in vars(kind)]
    if not kinds or kinds[0].__name__ == "LinearPhysics":  # which iterates
        return None
    closed = ProximalFunction(physics, names, made)
    b = drawn(x, 5)
    lam, weight = (per_lane(torch.linspace(s, 1.0, len(x)), x) for s in (0.5, 2.0))
    try:
        z = closed.invert(b, lam, weight)
        back = weight * made.adjoint(made(z)) + lam * z
    except (RuntimeError, ValueError, TypeError):
        return None  # it does not accept a regularization per lane
    return closed if _same(back, b) else None


class ProximalFunction(LinearFunction, ClosedForm):
    r"""A linear physics whose `prox_l2` is exact.

    deepinv's :math:`\mathrm{prox}(z, y, \gamma) = \arg\min_x \gamma \|A x - y\|^2 / 2 +
    \|x - z\|^2 / 2`, with y = 0, z = b / lam and gamma = weight / lam, is `invert`.
    """

    def __init__(self, physics: Any, names: tuple[str, ...], made: LinearFunction) -> None:
        settings = {"find": made.find, "like": made.like, "given": made.given}
        back, tolerance, parts = made.back, made.adjoint_tolerance, list(made.parts)
        super().__init__(made.function, back, tolerance, **settings, parts=parts)
        self.prox = Swapped(physics, "prox_l2", names)

    def invert(
        self, b: Float[Tensor, "b *n"], lam: Tensor | float, weight: Tensor | float = 1.0
    ) -> Float[Tensor, "b *n"]:
        """prox_l2(b / lam, 0, weight / lam); b / lam where weight is 0."""
        lam, weight = per_lane(lam, b), per_lane(weight, b).expand(len(b), *[1] * (b.ndim - 1))
        zero = torch.zeros_like(self(b))
        x = self.prox(b / lam, zero, torch.where(weight > 0, weight, 1) / lam, *self.given)
        return torch.where(weight > 0, x, b / lam)


class Decomposed(Own, SpectralOperator):
    """A physics with a real singular value decomposition: U, V and `mask` of deepinv.

    Arguments:
        physics: An object with `U`, `U_adjoint`, `V`, `V_adjoint` and the singular values `mask`,
            of any sign.
        x: An example of x, with the dtype and device of the physics.
        names: The names of its buffers with a lane axis.
        given: These buffers.
    """

    def __init__(
        self, physics: Any, x: Tensor, names: tuple[str, ...], given: tuple[Tensor, ...]
    ) -> None:
        y_shape, x_shape = tuple(physics.A(x).shape[1:]), tuple(x.shape[1:])
        super().__init__(
            find=partial(fixed, x_shape, y_shape), like=x, given=given, parts=[_module(physics)]
        )
        self.physics_names = names

    def extra_repr(self) -> str:
        return type(self._physics).__name__

    @property
    def _physics(self) -> Any:
        return self.parts[0]

    def _call(self, method: str, v: Tensor) -> Tensor:
        return Swapped(self._physics, method, self.physics_names)(v, *self.given)

    def _values(self, z: Tensor) -> Tensor:
        if "mask" in self.physics_names:
            return self.given[self.physics_names.index("mask")].to(z)
        values: Tensor = self._physics.mask
        return values.to(z)

    def spectrum(self, z: Float[Tensor, "b *k"]) -> Tensor:
        return self._values(z).abs()

    def v(self, z: Float[Tensor, "b *k"]) -> Float[Tensor, "b *n"]:
        return self._call("V", z)

    def vt(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *k"]:
        return self._call("V_adjoint", x)

    def u(self, z: Float[Tensor, "b *k"]) -> Float[Tensor, "b *m"]:
        """U z, where U includes the signs of the mask."""
        return self._call("U", self._values(z).sign() * z)

    def ut(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *k"]:
        z = self._call("U_adjoint", y)
        return self._values(z).sign() * z

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        return self(drawn(y.new_empty(len(y), *self.x_shape(tuple(y.shape[1:]))))) != 0


def _mask(physics: Any, x: Tensor, names: tuple[str, ...], given: object) -> Mask | None:
    """A mask on the pixels, or the identity."""
    mask = getattr(physics, "mask", None)
    if not isinstance(mask, Tensor) or mask.is_complex():
        return None
    mask = mask.detach().to(x)
    if "mask" in names:
        return Mask(mask, per_lane=True)
    return Mask(mask[0] if mask.ndim == x.ndim and len(mask) == 1 else mask)


def _blur(physics: Any, x: Tensor, names: tuple[str, ...], given: object) -> CircularBlur | None:
    """A circular convolution, with one kernel for all channels."""
    psf = getattr(physics, "filter", None)
    if not isinstance(psf, Tensor) or psf.ndim != 4:
        return None
    psf = psf.detach().to(x)[:, 0]
    return CircularBlur(psf, per_lane=True) if "filter" in names else CircularBlur(psf[0])


def _decomposed(
    physics: Any, x: Tensor, names: tuple[str, ...], given: tuple[Tensor, ...]
) -> Decomposed | None:
    """The decomposition of the physics, if it has a real one."""
    mask = getattr(physics, "mask", None)
    has = all(callable(getattr(physics, name, None)) for name in _SVD)
    real = isinstance(mask, Tensor) and not mask.is_complex()
    return Decomposed(physics, x, names, given) if has and real else None


def _sound(operator: SpectralOperator, x: Tensor, a: Tensor) -> bool:
    """Whether V is orthonormal, and U where s > 0."""
    z = operator.vt(x)
    if z[0].numel() != x[0].numel() or z.is_complex():
        return False
    c, w = drawn(z, 6), drawn(a, 7)
    s = operator.spectrum(z)
    back = operator.ut(operator.u(c))
    return (
        _same(operator.v(z), x)
        and _same(operator.vt(operator.v(c)), c)
        and _same(norm(z)[:, None], norm(x)[:, None])
        and _same(back, torch.where(s > 0, c, 0))
        and DotTest.of(operator.u(c), w, c, operator.ut(w)).error <= exact(w.dtype)
    )


def _same(got: Tensor, wanted: Tensor) -> bool:
    if got.shape != wanted.shape:
        return False
    return bool((norm(got - wanted) <= exact(wanted.dtype) * (norm(wanted) + 1)).all())


def _module(physics: Any) -> nn.Module:
    if not isinstance(physics, nn.Module):
        raise TypeError(f"expected an nn.Module, got {type(physics).__name__}")
    return physics
