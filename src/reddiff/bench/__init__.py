"""Benchmarks: a spec of priors, tasks, noise levels, solvers and images, run into one file."""
