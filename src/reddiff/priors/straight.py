"""The straight paths of rectified flows and flow matching."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.priors.paths import Path


class Straight(Path):
    r"""The straight path of rectified flows, :math:`x_t = (1 - t) x_0 + t n`.

    Arguments:
        t_min: The smallest t, the fraction of noise, that the network was trained for.
        t_max: The largest t that the network was trained for, below 1.
        data_at: The network's time for clean data. With 0 (rectified flow, Stable Diffusion 3,
            FLUX) the velocity is n - x_0. With 1 (flow matching) it is x_0 - n, and the network's
            time is 1 - t.
        times: A factor on the network's time; 1000 for models of diffusers.

    References:
        | Flow Straight and Fast (Liu et al., 2023), https://arxiv.org/abs/2209.03003
        | Flow Matching for Generative Modeling (Lipman et al., 2023), https://arxiv.org/abs/2210.02747
    """

    def __init__(
        self, t_min: float = 0.0, t_max: float = 0.9999, *, data_at: int = 0, times: float = 1.0
    ) -> None:
        good = 0 <= t_min < t_max < 1
        got = f"{t_min}, {t_max}"
        require(good, "t_min, t_max", expected="0 <= t_min < t_max < 1", got=got)
        require(data_at in (0, 1), "data_at", expected="0 or 1", got=data_at)
        super().__init__(t_min / (1 - t_min), t_max / (1 - t_max))
        self.data_at, self.times = data_at, times

    def alpha(self, s: Tensor) -> Tensor:
        return 1 - s / (1 + s)

    def time(self, s: Float[Tensor, " b"]) -> Tensor:
        t = s / (1 + s)
        t = 1 - t if self.data_at else t
        return t if self.times == 1 else self.times * t

    def from_velocity(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """(p, q) of x_0 = x_t - t u, or of x_t + t u if `data_at` is 1."""
        t = s / (1 + s)
        return 1 - t, t if self.data_at else -t
