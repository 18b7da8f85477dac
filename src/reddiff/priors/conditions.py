"""Conditions of a network, such as class labels or text embeddings, and conditional priors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import InvalidArgument, require, require_count
from reddiff.priors.base import Prior

if TYPE_CHECKING:
    from reddiff.priors.network_prior import NetworkPrior

P = TypeVar("P", bound=Prior)
WHOLE = torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8


@dataclass(frozen=True, eq=False)
class Conditions:
    """The kind of condition that a network takes: `net(x_t, t, condition)`.

    Arguments:
        classes: The number of labels, counted from 0; the condition is an integer tensor `(b,)`.
        embedding: The shape of one embedding; the condition is `(b, *embedding)`.
        null: The label or the embedding that makes the network unconditional; None if there is
            none.

    Raises:
        InvalidArgument: Unless exactly one of `classes` and `embedding` is given.
    """

    classes: int | None = None
    embedding: tuple[int | None, ...] | None = None
    null: int | Tensor | None = None

    def __post_init__(self) -> None:
        one = (self.classes is None) != (self.embedding is None)
        got = f"{self.classes} and {self.embedding}"
        require(one, "classes, embedding", expected="one of them", got=got)
        if self.classes is not None:
            require_count("classes", self.classes)
            whole = self.null is None or (isinstance(self.null, int) and self.null >= 0)
            require(whole, "null", expected="a label of the network", got=repr(self.null))

    def labels(self, label: int | Tensor) -> Tensor:
        """Labels as `(1,)`, for all lanes, or `(b,)`; InvalidArgument if the network lacks them."""
        expected = f"integers from 0 to {(self.classes or 0) - 1}, one or one per lane"
        if self.classes is None:
            got = "a label"
            raise InvalidArgument("label", expected=f"an embedding of {self.embedding}", got=got)
        try:
            values = torch.as_tensor(label)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidArgument("label", expected=expected, got=repr(label)) from error
        whole = values.dtype in WHOLE and values.ndim <= 1
        got = f"{values.dtype} of shape {tuple(values.shape)}"
        require(whole and values.numel() > 0, "label", expected=expected, got=got)
        values = values.long()
        low, high = int(values.min()), int(values.max())
        good = low >= 0 and high < self.classes
        require(good, "label", expected=expected, got=high if high >= self.classes else low)
        return values.reshape(-1)

    def embeddings(self, embedding: Tensor) -> Tensor:
        """Validate embeddings and return them as `(1, *e)`, for all lanes, or `(b, *e)`.

        Raises:
            InvalidArgument: If they have another shape.
        """
        if self.embedding is None:
            expected = f"a label from 0 to {(self.classes or 0) - 1}"
            raise InvalidArgument("embedding", expected=expected, got="an embedding")
        rank, shape = len(self.embedding), tuple(embedding.shape)
        pairs = zip(self.embedding, shape[len(shape) - rank :], strict=False)
        good = len(shape) - rank in (0, 1) and all(a in (None, b) for a, b in pairs)
        expected = f"shape {self.embedding}, or one per lane"
        require(good, "embedding", expected=expected, got=shape)
        return embedding[None] if len(shape) == rank else embedding

    def without(self) -> Tensor | None:
        """The null condition `(1, ...)`, or None if there is none."""
        if self.null is None:
            return None
        null = torch.as_tensor(self.null)
        return null.reshape(1) if self.classes is not None else null[None]


class ConditionalPrior(Prior):
    r"""A conditional network under given conditions, which shares its weights.

    .. math:: D = D_\emptyset + w\,(D_c - D_\emptyset)

    where :math:`D_c` is the estimate under the condition and :math:`D_\emptyset` that under the
    null condition. This is classifier-free guidance, stated for x_0; it is equivalent to that for
    the noise. With w = 1 only :math:`D_c` is evaluated. Otherwise both are evaluated in one call,
    and each counts as an evaluation.

    References:
        | Classifier-Free Diffusion Guidance (Ho & Salimans, 2022), https://arxiv.org/abs/2207.12598

    Arguments:
        inner: The network. `NetworkPrior.given` creates this object.
        condition: `(1, ...)` for all lanes, or `(b, ...)`.
        guidance: w, one number or one per lane.
        shared: Whether all lanes share the condition.

    Raises:
        InvalidArgument: If w is not 1 and the network has no null condition.
    """

    condition: Tensor
    weight: Tensor
    null: Tensor | None

    def __init__(
        self, inner: NetworkPrior, condition: Tensor, guidance: float | Tensor, shared: bool
    ) -> None:
        super().__init__(inner.shape, inner.sigma_min, inner.sigma_max)
        self.inner, self.values, self.errors = inner, inner.values, inner.errors
        self.differentiable = inner.differentiable
        weight = take_weight("guidance", guidance)
        null = None if inner.conditions is None else inner.conditions.without()
        self.guided = weight.ndim == 1 or float(weight) != 1
        expected = "1, because the network has no null condition"
        require(not self.guided or null is not None, "guidance", expected=expected, got=guidance)
        sizes = {*([] if shared else [len(condition)]), *(weight.shape)}
        got = f"{len(condition)} and {tuple(weight.shape)}"
        require(len(sizes) <= 1, "guidance", expected="one per condition", got=got)
        self.lanes, self.evaluations = next(iter(sizes), None), 2 if self.guided else 1
        self._shared = shared
        place = next((t.device for t in inner.parameters()), condition.device)
        for name, value in (("condition", condition), ("weight", weight), ("null", null)):
            held = None if value is None else value.to(place)
            self.register_buffer(name, held, persistent=False)

    @property
    def dtype(self) -> torch.dtype | None:
        return self.inner.dtype

    def select(self, index: Tensor) -> Prior:
        if self.lanes is None:
            return self
        names = [] if self._shared else ["condition"]
        new = indexed(self, [*names, "weight"] if self.weight.ndim == 1 else names, index)
        new.lanes = len(index)
        return new

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        condition = rows(self.condition, x, "conditions")
        if not self.guided or self.null is None:
            return self.inner.conditioned(x, sigma, condition)
        null = self.null.to(condition).expand_as(condition)
        pairs = ((x, x), (sigma, sigma), (condition, null))
        both = self.inner.conditioned(*(torch.cat(pair) for pair in pairs))
        with_it, without = both.chunk(2)
        w = rows(self.weight.reshape(-1), x, "conditions").to(x.dtype).view(-1, *[1] * (x.ndim - 1))
        return without + w * (with_it - without)


def take_weight(name: str, value: float | Tensor) -> Tensor:
    """Validate a guidance weight and return it in float64.

    Raises:
        InvalidArgument: If it is neither a finite number nor one per lane.
    """
    weight = torch.as_tensor(value, dtype=torch.float64)
    good = weight.ndim <= 1 and bool(torch.isfinite(weight).all())
    require(good, name, expected="a number, or one per lane", got=value)
    return weight


def indexed(prior: P, names: Sequence[str], index: Tensor) -> P:
    """A copy of a prior whose named buffers hold only the lanes at these indices."""
    new = copy.copy(prior)
    new._buffers = dict(prior._buffers)
    for name in names:
        held = getattr(prior, name)
        new._buffers[name] = held[index.to(held.device)]
    return new


def rows(value: Tensor, x: Tensor, what: str) -> Tensor:
    """Repeat the entries of `value`, one per lane, for the consecutive rows of x of each lane.

    `what` is their name in the error message.

    Raises:
        InvalidArgument: If the number of rows is not a multiple of the number of entries.
    """
    times, rest = divmod(len(x), len(value))
    expected = f"the same number of rows for each of the {what}"
    require(rest == 0, "x", expected=expected, got=f"{len(x)} rows of x for {len(value)} {what}")
    return value if times == 1 else value.repeat_interleave(times, 0)
