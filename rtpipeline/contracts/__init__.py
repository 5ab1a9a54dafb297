"""Contracts between the parts: tables, findings, manifests, the index."""
