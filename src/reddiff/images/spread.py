"""The outputs on the spread of draws: intervals, a map of their width, statistics of regions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from reddiff.errors import require
from reddiff.files import check_target
from reddiff.images.calibration import ALARM, Calibration
from reddiff.images.io import Picture, encode
from reddiff.images.maps import heat_map
from reddiff.images.regions import Region
from reddiff.images.restored import Restored
from reddiff.images.settings import Settings
from reddiff.metrics.draws import Interval, needed_draws
from reddiff.uncertainty import functional

LEVEL = 0.9  # the default level of the intervals of regions
WIDTH, SHARE = "width of the {:g} % interval", "share of the prior variance that y removed"
MOST_FILES = 500  # of one picture, which are open together until all are written


@dataclass(frozen=True)
class Spread:
    """The outputs on the draws of one picture.

    Arguments:
        interval: The level of the intervals of pixels, which are written beside the result:
            `NAME.low.SUFFIX`, `NAME.high.SUFFIX`, their width as `NAME.width.png`, and as
            `NAME.measured.png` the fraction of each pixel's prior variance that y removed, if the
            variance of the prior is known. None to write none.
        folder: The folder for the draws, `NAME-001.SUFFIX` and so on; None to write none.
        regions: Regions whose statistics and intervals are computed.
        calibration: That of the intervals of pixels, and of means and sums of regions.
    """

    interval: float | None = None
    folder: Path | None = None
    regions: tuple[Region, ...] = ()
    calibration: Calibration | None = None

    def below(self, output: str, top: Path | None) -> Spread:
        """The same for one of several outputs, with its draws in the same place below `top`."""
        if self.folder is None or top is None:
            return self
        return replace(self, folder=self.folder / Path(output).parent.relative_to(top))

    @property
    def level(self) -> float:
        """The level of the intervals."""
        return LEVEL if self.interval is None else self.interval

    @property
    def least(self) -> int:
        """The smallest sufficient number of draws."""
        return needed_draws(self.level) if self.regions or self.interval is not None else 1

    def files(self, output: Path, draws: int) -> list[Path]:
        """The files to be written for an output, except the map that not every prior has."""
        found = [] if self.interval is None else [*self._ends(output), _map(output, "width")]
        return found + self._draws(output, draws)

    def check(
        self, output: Path, settings: Settings, size: tuple[int, int], weights: str, *, force: bool
    ) -> None:
        """Check, before the run, that all outputs can be computed and written.

        Raises:
            InvalidArgument: If there are too few draws, or a region does not fit.
            CalibrationError: If the calibration is for other settings, or another prior.
            PictureError: If a file exists already.
        """
        draws = settings.draws
        expected = f"at least {self.least} for an interval of level {self.level:g}"
        require(draws is not None and draws >= self.least, "draws", expected=expected, got=draws)
        if self.calibration is not None:
            self.calibration.check(settings, weights, self.level)
        for region in self.regions:
            region.mask(size)
        more = [] if self.interval is None else [_map(output, "measured")]
        for path in self.files(output, draws or 0) + more:
            check_target(path, force=force, parents=True)

    def ends(self, result: Restored) -> Interval | None:
        """The ends of the interval of every pixel, if an interval is requested."""
        if self.interval is None:
            return None
        exact = self.calibration
        return result.interval(self.interval) if exact is None else exact.interval(result)

    def contents(
        self, output: Path, result: Restored, ends: Interval | None
    ) -> list[tuple[Path, Iterator[bytes]]]:
        """The files and their contents, each made when it is read."""
        files: list[tuple[Path, Iterator[bytes]]] = []
        if ends is not None:
            for path, pixels in zip(self._ends(output), ends, strict=True):
                files.append((path, _encoded(path, replace(result.picture, pixels=pixels))))
            share = result.measured_share
            shown = {"width": heat_map(ends.width.mean(0), WIDTH.format(100 * self.level))}
            if share is not None:
                shown["measured"] = heat_map(share.mean(0), SHARE, top=1.0)
            for name, picture in shown.items():
                buffer = BytesIO()
                picture.save(buffer, "PNG")
                files.append((_map(output, name), iter([buffer.getvalue()])))
        targets = self._draws(output, result.usable.shape[1])
        for path, pixels in zip(targets, result.draws, strict=False):
            files.append((path, _encoded(path, replace(result.picture, pixels=pixels[0]))))
        return files

    def entries(self, result: Restored, ends: Interval | None) -> dict[str, Any]:
        """The entries of the record: the level, and the statistics of regions with intervals."""
        size = (result.pixels.shape[1], result.pixels.shape[2])
        found: dict[str, Any] = {"level": self.level}
        if ends is not None:
            found["mean_width"] = float(ends.width.mean())
            share = result.measured_share
            found["mean_measured_share"] = None if share is None else float(share.mean())
        numbers = {}
        for region in self.regions:
            value = functional(result, region.of(size), level=self.level)
            note = ""
            if self.calibration is not None:
                mean = region.text.endswith(("=mean", "=sum"))
                value = value.widened(self.calibration.region) if mean else value
                note = ", calibrated" if mean else ", not calibrated"
            numbers[region.text] = {
                "mean": float(value.mean),
                "low": float(value.low),
                "high": float(value.high),
                "sentence": value.sentence() + note,
            }
        return found | {"regions": numbers} | self._calibrated(result)

    def _calibrated(self, result: Restored) -> dict[str, Any]:
        """The calibrated intervals and bounds of the result."""
        exact = self.calibration
        if exact is None:
            return {}
        psnr = exact.psnr_at_least(result)
        said = [
            f"Calibrated: {exact.promise()}",
            f"PSNR at least {psnr:.1f} dB with {100 * exact.level:g} %.",
        ]
        p = exact.p_value(result)
        if p is None:
            said.append(
                "The calibration has too few pictures to test whether this one is like them."
            )
        elif p <= ALARM:
            said.append(
                f"This picture does not resemble those of the calibration (p = {p:.3f}): the "
                "intervals may not hold for it."
            )
        return {"psnr_at_least": psnr, "p_value": p, "said": said}

    def _ends(self, output: Path) -> list[Path]:
        return [output.with_suffix(f".{name}{output.suffix}") for name in ("low", "high")]

    def _draws(self, output: Path, draws: int) -> list[Path]:
        if self.folder is None:
            return []
        expected = f"at most {MOST_FILES} to be saved one by one"
        require(draws <= MOST_FILES, "draws", expected=expected, got=draws)
        digits = max(3, len(str(draws)))
        names = [f"{output.stem}-{i:0{digits}}{output.suffix}" for i in range(1, draws + 1)]
        return [self.folder / name for name in names]


def _map(output: Path, name: str) -> Path:
    return output.with_suffix(f".{name}.png")


def _encoded(path: Path, picture: Picture) -> Iterator[bytes]:
    yield encode(path, picture)
