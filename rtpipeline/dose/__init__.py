"""Which dose objects make which dose, and sums of dose grids."""
