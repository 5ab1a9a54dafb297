"""Stage structures: every structure of every source on its image."""
