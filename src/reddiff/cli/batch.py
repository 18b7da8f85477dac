"""Run the jobs of `reddiff restore`: progress, summaries, a table and an exit code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from reddiff.cli import interruptions
from reddiff.cli.errors import DIVERGED, INVALID_INPUT, SOME_FAILED, debugging, explain
from reddiff.cli.terminal import counted, flat, one_line, say
from reddiff.images import reports
from reddiff.images.reports import OnExisting, Outcome, Row

if TYPE_CHECKING:
    from reddiff.images.jobs import Job
    from reddiff.images.spread import Spread

NAMED = 20  # failed pictures that are named at the end


def run_batch(
    todo: Sequence[Job],
    *,
    notes: Sequence[str],
    folder: Path | None,
    on_existing: OnExisting,
    truths: Mapping[str, Path | None],
    preview: Path | None,
    report: Path | None,
    spread: Spread | None = None,
    batch: str = "1",
) -> None:
    """Run the jobs. If there are several, failures are reported and the others continue.

    Arguments:
        todo: The jobs.
        notes: Notes to print first.
        folder: The output folder of several results; None for a single file.
        on_existing: What to do if a result exists.
        truths: The truth of each output, or None.
        preview: The folder for animations.
        report: The file for a table.
        spread: What to write of the spread of draws; its folder holds those of all pictures.
        batch: How many to solve together, as `--batch` says it.
    """
    from reddiff.cli.folder_bar import FolderBar
    from reddiff.files import check_target
    from reddiff.images import batch as runs
    from reddiff.images.batching import Batches, lanes_of
    from reddiff.interop import door

    batches = Batches(lanes_of(batch))
    for job in todo:
        job.check()
    if report is not None:  # an earlier report may be replaced if its results may
        again = on_existing is not OnExisting.ERROR and reports.is_report(report)
        again = again or on_existing is OnExisting.OVERWRITE
        check_target(report, force=again)
    prior = door.prior(str(todo[0].settings.prior))
    films = _films(todo, folder, preview)
    for note in notes:
        say(note, error=True)
    rows: list[Row] = []
    bar = FolderBar(len(todo))
    interruptions.raise_from_now_on()
    try:
        for row in runs.run_all(
            todo,
            prior=prior,
            on_existing=on_existing,
            truth=lambda job: truths[job.output],
            parents=folder is not None,
            hooks=lambda job: [bar.begin(one_line(Path(job.source).name))],
            film=lambda job: films.get(job.output),
            spread=lambda job: None if spread is None else spread.below(job.output, folder),
            batches=batches,
        ):
            rows.append(row)
            bar.end(row)
            if row.error is not None and (folder is None or debugging.get()):
                raise row.error
            _tell(row)
    finally:
        bar.close()
        if report is not None and rows:
            from reddiff.files import write_whole

            write_whole(report, reports.report(rows), force=again)
    _finish(rows, several=folder is not None)


def _films(todo: Sequence[Job], folder: Path | None, preview: Path | None) -> dict[str, Path]:
    """The animation file of each output, in the same subfolders as the outputs."""
    if preview is None:
        return {}
    films: dict[str, Path] = {}
    for job in todo:
        output = Path(job.output)
        place = output.relative_to(folder) if folder is not None else Path(output.name)
        film = preview / place.with_suffix(".webp")
        if film in films.values():
            film = preview / place.with_name(f"{place.name}.webp")
        films[job.output] = film
    return films


def _tell(row: Row) -> None:
    if row.error is not None:
        text = explain(row.error)
        named = row.job.source in text or row.job.output in text
        say(f"reddiff: {text if named else f'{one_line(row.job.source)}: {text}'}", error=True)
    elif row.outcome is Outcome.SKIPPED:
        if row.reason:
            say(f"{flat(row.job.output)}: {row.reason}")
    elif row.record is not None:
        say(summary(row.record))
        if row.reason:
            say(f"  Restored again: {row.reason}.")


def _finish(rows: Sequence[Row], *, several: bool) -> None:
    """Print the counts and the failures, and set the exit code."""
    from reddiff.errors import Diverged

    failed = [row for row in rows if row.outcome is Outcome.FAILED]
    skipped = sum(row.outcome is Outcome.SKIPPED for row in rows)
    done = len(rows) - len(failed) - skipped
    kept = sum(row.outcome is Outcome.DONE and _diverged(row) for row in rows)
    if several:
        say(f"{len(rows)} pictures: {done} done, {skipped} skipped, {len(failed)} failed")
    elif skipped:
        say(f"{rows[0].job.output}: already finished, skipped")
    if failed:
        say(f"{len(failed)} of {len(rows)} pictures failed:", error=True)
        for row in failed[:NAMED]:
            why = "" if row.error is None else explain(row.error)
            named = row.job.source in why
            say(f"  {why if named else f'{one_line(row.job.source)}: {why}'}", error=True)
        if len(failed) > NAMED:
            say(f"  and {len(failed) - NAMED} more (--report lists all)", error=True)
    diverged = kept + sum(isinstance(row.error, Diverged) for row in failed)
    if diverged and diverged == len(rows):
        raise typer.Exit(DIVERGED)
    if failed or kept:
        raise typer.Exit(INVALID_INPUT if len(failed) == len(rows) else SOME_FAILED)


def _diverged(row: Row) -> bool:
    return row.record is not None and row.record["status"] == "DIVERGED"


def _spread(found: dict[str, Any]) -> list[str]:
    """The lines on intervals and statistics of draws."""
    lines = [f"  {name}: {value['sentence']}" for name, value in found.get("regions", {}).items()]
    if "mean_width" in found:
        level, width = 100 * found["level"], found["mean_width"]
        lines.append(f"  {level:g} % intervals of the pixels: {width:.4f} wide on average")
    if found.get("mean_measured_share") is not None:
        share = 100 * found["mean_measured_share"]
        lines.append(f"  y removed {share:.0f} % of the prior variance of the pixels on average")
    lines += [f"  {text}" for text in found.get("said", [])]
    return lines


def summary(record: dict[str, Any]) -> str:
    """A record in a few lines."""
    job, cost = record["job"], record["cost"]
    how = "estimated" if record["noise_estimated"] else "given"
    ratio, noise = record["residual_ratio"], record["noise"]
    fit = "undefined" if ratio is None or not math.isfinite(ratio) else f"{ratio:.2f}"
    made = counted(cost["evaluations"], "evaluation")
    if cost.get("decodings"):
        made += f" and {counted(cost['decodings'], 'decoding')}"
    lines = [
        f"{flat(job['output'])}: {flat(job['task'])} by {flat(job.get('solver', 'noise-aware'))}, "
        f"{made} in {cost['seconds']:.1f} s; "
        f"noise {'unknown' if noise is None else f'{noise:.4f}'} ({how}), "
        f"residual/noise {fit}"
    ]
    if record["status"] not in ("COMPLETED", "EXHAUSTED"):
        lines.append(f"  status {record['status']}")
    lines += [f"  {flat(note)}" for note in record["notes"]]
    lines += _spread(record.get("uncertainty", {}))
    if "metrics" in record:
        names = {"psnr": "PSNR {:.2f} dB", "ssim": "SSIM {:.4f}", "lpips": "LPIPS {:.4f}"}
        values = record["metrics"]
        found = [
            text.format(float("inf") if values[k] is None else values[k])
            for k, text in names.items()
            if k in values
        ]
        lines.append("  " + ", ".join(found))
    return "\n".join(lines)
