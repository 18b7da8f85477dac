"""Choices of the command line."""

from enum import StrEnum


class Output(StrEnum):
    """The format of the results.

    `FILES`: pictures with the names of the source, and a record beside each. `WEBDATASET`: tar
    files with a picture and a record per sample. `PARQUET`: files with a row per picture.
    """

    FILES = "files"
    WEBDATASET = "webdataset"
    PARQUET = "parquet"


class Mode(StrEnum):
    """What to do with an earlier run in the target: resume it, or start again."""

    INCREMENTAL = "incremental"
    OVERWRITE = "overwrite"


class Engine(StrEnum):
    """Who restores the pictures: processes of this machine, or actors of a Ray cluster."""

    LOCAL = "local"
    RAY = "ray"
