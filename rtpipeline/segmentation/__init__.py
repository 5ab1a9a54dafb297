"""Structures from networks: TotalSegmentator, and nnU-Net models of the user."""
