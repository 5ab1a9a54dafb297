"""Where a row comes from: versions, methods text."""
