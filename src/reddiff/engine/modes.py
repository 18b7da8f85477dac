"""The choices that the command line offers."""

from enum import StrEnum


class Output(StrEnum):
    """What a run writes.

    `FILES` are pictures with the names of the source and a record beside each; `WEBDATASET` are tar
    files with a picture and a record per sample; `PARQUET` files have a row per picture.
    """

    FILES = "files"
    WEBDATASET = "webdataset"
    PARQUET = "parquet"


class Mode(StrEnum):
    """What to do with an earlier run in the target: go on with it, or begin anew."""

    INCREMENTAL = "incremental"
    OVERWRITE = "overwrite"


class Engine(StrEnum):
    """Who restores the pictures: processes of this machine, or actors of a Ray cluster."""

    LOCAL = "local"
    RAY = "ray"
