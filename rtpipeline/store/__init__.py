"""Where outputs live: keys, digests, folders, identity."""
