"""Steps that several solvers share: data terms, proximal maps, conditional draws."""
