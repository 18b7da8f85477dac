"""Snapshots of runs on disk, with hashes that identify solver, problem and prior."""

from reddiff.snapshot.description import describe
from reddiff.snapshot.snapshot import Snapshot
from reddiff.snapshot.state import State
from reddiff.snapshot.trees import Tree, select_tree, to_device

__all__ = ["Snapshot", "State", "Tree", "describe", "select_tree", "to_device"]
