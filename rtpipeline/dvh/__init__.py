"""Dose-volume histograms: solids of contours integrated in a dose grid, and the metrics read from them."""
