"""Inverse problems: y = A(x) + noise, one independent problem per lane."""

from reddiff.problem.problem import Problem as Problem
