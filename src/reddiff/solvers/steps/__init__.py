"""Steps shared by several solvers: data terms, proximal maps, conditional draws."""
