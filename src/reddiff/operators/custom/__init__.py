"""Operators built from functions, matrices, and linear operators of other libraries."""

from reddiff.operators.custom.factory import from_linear_operator, from_matrix, operator
from reddiff.operators.custom.functions import Function, LinearFunction
from reddiff.operators.custom.matrices import Dense, Sparse

__all__ = [
    "Dense",
    "Function",
    "LinearFunction",
    "Sparse",
    "from_linear_operator",
    "from_matrix",
    "operator",
]
