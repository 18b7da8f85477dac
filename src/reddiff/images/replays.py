"""Replay records, with checks that make records from untrusted sources safe."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from reddiff.errors import RecordError
from reddiff.images.jobs import Job, file_hash
from reddiff.images.records import FORMAT, read_record, record_path
from reddiff.images.runs import run
from reddiff.images.tasks.custom import OWN
from reddiff.interop import door
from reddiff.priors.photo import weights_hash


def replay(
    path: str | Path,
    *,
    output: str | Path | None = None,
    task: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Run a record again, and check that inputs, weights and pixels are the same.

    A record may come from an untrusted source. It can run only code that the caller names, and
    write only in its own folder.

    Arguments:
        path: The record. Relative paths in it are relative to its folder.
        output: The file to write instead of the output in the record.
        task: `FILE.py:NAME`, required if the record has such a task; file and name must agree.
        force: Overwrite files; without `output`, only the picture beside the record.

    Raises:
        PictureError: If the record, or an input, cannot be read.
        RecordError: If the file is not a record; if an input or the weights changed; if it names an
            output elsewhere, or a file of code that `task` does not name; or if the pixels differ
            (the file is then written, and the message says so).
    """
    record = read_record(path)
    if record["format"] != FORMAT:
        raise RecordError(
            f"{path}: a record of format {record['format']} cannot be run again: it lacks hashes, "
            f"and its paths depend on where it was written (format {FORMAT} has both)"
        )
    folder = Path(path).parent
    job = Job.of(record["job"]).moved(lambda text: str(folder / text))
    if output is None:
        _check_inside(job, Path(path), force=force)
    else:
        job = replace(job, output=str(output))
    _check_code(job, task, path)
    files, known = job.files, record["inputs"]
    if set(files) != set(known):
        expected = f"hashes of {', '.join(files)}"
        raise RecordError(f"{path}: expected {expected}, got {', '.join(known) or 'none'}")
    for name, file in files.items():
        if not (file.is_file() or file.is_dir()) or file_hash(file) != known[name]:
            raise RecordError(f"{path}: expected {name} {file} as it was, got another or none")
    prior = door.prior(str(job.settings.prior))
    if weights_hash(prior) != record["weights"]:
        raise RecordError(
            f"{path}: expected weights {record['weights']}, got {weights_hash(prior)}"
        )
    threads = torch.get_num_threads()
    # Another number of threads may round differently; more threads than processors do not help.
    torch.set_num_threads(min(record["threads"], os.cpu_count() or 1))
    try:
        again = run(job, prior=prior, force=force)
    finally:
        torch.set_num_threads(threads)
    if again["pixels"] != record["pixels"]:
        made = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
        raise RecordError(
            f"{path}: expected pixels {record['pixels']}, got {again['pixels']} in {job.output} "
            f"(the record is of {made}, {record['threads']} threads)"
        )
    return again


def _check_inside(job: Job, path: Path, *, force: bool) -> None:
    """Refuse to write outside the folder of the record, or to replace another picture."""
    folder = Path(os.path.realpath(path.parent))
    target = Path(os.path.realpath(Path(job.output).parent)) / Path(job.output).name
    if not target.is_relative_to(folder):
        raise RecordError(
            f"{path}: its output {job.output} is outside its own folder; give the output with -o"
        )
    own = record_path(target) == folder / path.name
    if force and not own and os.path.lexists(target):
        raise RecordError(
            f"{path}: --force replaces only the picture beside the record, not "
            f"{job.output}; give the output with -o"
        )


def _check_code(job: Job, task: str | None, path: str | Path) -> None:
    """Raise an error if the record runs a file of code that the caller did not name."""
    name = str(job.settings.task)
    mine, given = OWN.fullmatch(name), OWN.fullmatch(task or "")
    if mine is None:
        if task is not None:
            raise RecordError(f"{path}: its task is {name}; --task is for FILE.py:NAME only")
        return
    same = (
        given is not None
        and os.path.realpath(given[1]) == os.path.realpath(mine[1])
        and given[2] == mine[2]
    )
    if not same:
        raise RecordError(
            f"{path}: it runs the code in {mine[1]}; if you trust that file, give "
            f"--task {name} as well"
        )
