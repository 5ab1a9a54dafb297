"""Grids, polygons and solids: pure geometry in patient coordinates (DICOM LPS, mm), without files or DICOM objects."""
