"""Operators from functions, matrices, and the operators of other libraries."""

from reddiff.operators.custom.factory import operator
from reddiff.operators.custom.functions import Function, LinearFunction
from reddiff.operators.custom.matrices import Dense, Sparse

__all__ = ["Dense", "Function", "LinearFunction", "Sparse", "operator"]
