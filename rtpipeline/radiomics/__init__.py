"""Radiomic features of structures."""
