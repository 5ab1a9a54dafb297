"""What only a real cluster can show. Run by `make e2e`, which says what it needs."""
