"""Operators from functions, matrices, and the operators of other libraries."""

from reddiff.own.factory import operator
from reddiff.own.functions import Function, LinearFunction
from reddiff.own.matrices import Dense, Sparse

__all__ = ["Dense", "Function", "LinearFunction", "Sparse", "operator"]
