"""Classifier guidance: the gradient of a noisy-image classifier conditions a prior."""

from __future__ import annotations

from contextlib import ExitStack

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from reddiff.errors import require
from reddiff.priors.around import Around
from reddiff.priors.base import Prior
from reddiff.priors.conditions import Conditions, indexed, rows, take_weight
from reddiff.priors.networks import Network
from reddiff.priors.paths import Path


class NoisyClassifier(nn.Module):
    r"""ln p(label | x_t), from a network that was trained on noisy images.

    Arguments:
        net: `net(x_t, t)` returns the logits `(b, classes)`.
        path: Maps a noise level to x_t and t. Levels outside its range use the nearest t.
        classes: The number of labels.
        shape: The shape of one x; None in place of a side of any length.
    """

    def __init__(
        self, net: Network, path: Path, classes: int, shape: tuple[int | None, ...]
    ) -> None:
        super().__init__()
        self.net, self.path, self.shape = net, path, tuple(shape)
        self.conditions = Conditions(classes)

    def forward(self, x: Float[Tensor, "b *n"], sigma: Tensor, label: Tensor) -> Float[Tensor, "b"]:
        """ln p(label | x_0 + sigma n = x), for `sigma` `(b, 1, ..., 1)` and labels `(b,)`."""
        logits = self.net(self.path.alpha(sigma) * x, self.path.time(sigma.flatten()))
        return F.log_softmax(logits.to(x.dtype), 1).gather(1, label[:, None]).squeeze(1)

    def slope(
        self, x: Float[Tensor, "b *n"], sigma: Tensor, label: Tensor
    ) -> Float[Tensor, "b *n"]:
        """The gradient of `forward` with respect to x; differentiable if x requires a gradient."""
        twice = torch.is_grad_enabled() and x.requires_grad
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(mode=False))
            stack.enter_context(torch.enable_grad())
            if twice:  # fused attention has no second derivative
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            leaf = x if twice else x.detach().clone().requires_grad_()
            total = self(leaf, sigma.clone(), label.clone()).sum()
            (slope,) = torch.autograd.grad(total, leaf, create_graph=twice)
        return slope


class ClassifierGuidance(Around):
    r"""A prior conditioned on a label by the gradient of a classifier.

    .. math:: D_y(x) = D(x) + w s^2 \nabla_x \ln p(y \mid x), \quad x = x_0 + s n

    For w = 1 and an exact classifier this is the posterior mean of x_0 given x and the label y, by
    Tweedie's formula. In terms of the predicted noise it is Algorithm 2 of the paper. To denoise
    costs one evaluation of the prior, one of the classifier and one backward pass of the
    classifier; all three are counted in the cost of a run.

    References:
        | Diffusion Models Beat GANs on Image Synthesis (Dhariwal & Nichol, 2021), Section 4,
        | https://arxiv.org/abs/2105.05233

    Arguments:
        inner: The prior, which may itself be conditional.
        classifier: The classifier.
        label: One label for all lanes, or one per lane `(b,)`.
        scale: w, one number or one per lane.

    Raises:
        InvalidArgument: If the label does not exist, or if prior and classifier differ in shape.
    """

    label: Tensor
    scale: Tensor

    def __init__(
        self,
        inner: Prior,
        classifier: NoisyClassifier,
        label: int | Tensor,
        scale: float | Tensor = 1.0,
    ) -> None:
        pairs = zip(inner.shape, classifier.shape, strict=False)
        same = len(inner.shape) == len(classifier.shape)
        fits = same and all(a is None or b is None or a == b for a, b in pairs)
        expected = f"one for x of shape {inner.shape}"
        require(fits, "classifier", expected=expected, got=classifier.shape)
        both = zip(inner.shape, classifier.shape, strict=True)
        super().__init__(inner, tuple(b if a is None else a for a, b in both))
        self.errors = inner.errors
        self.classifier = classifier
        labels = classifier.conditions.labels(label)
        weight = take_weight("scale", scale)
        held = labels if torch.as_tensor(label).ndim == 1 else labels[0]
        place = next((p.device for p in inner.parameters()), labels.device)
        self.register_buffer("label", held.to(place), persistent=False)
        self.register_buffer("scale", weight.to(place), persistent=False)
        self._count(inner)

    def select(self, index: Tensor) -> Prior:
        if self.lanes is None:
            return self
        names = [name for name in ("label", "scale") if getattr(self, name).ndim == 1]
        return indexed(self, names, index)._of(self.inner.select(index))

    def _count(self, inner: Prior) -> None:
        sizes = {*self.label.shape, *self.scale.shape}
        sizes |= set() if inner.lanes is None else {inner.lanes}
        got = f"{' and '.join(map(str, sorted(sizes)))} lanes"
        require(len(sizes) <= 1, "label, scale", expected="one for each lane", got=got)
        self.lanes = next(iter(sizes), None)
        self.evaluations, self.vjps = inner.evaluations + 1, inner.vjps + 1

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        x_0 = self.inner.denoise(x, sigma)
        label, scale = (rows(v.reshape(-1), x, "labels") for v in (self.label, self.scale))
        weight = scale.to(x.dtype).view(-1, *[1] * (x.ndim - 1)) * sigma**2
        return x_0 + weight * self.classifier.slope(x, sigma, label)
