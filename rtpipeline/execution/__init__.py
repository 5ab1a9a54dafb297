"""Running stages: one stage in one folder, and many of them on one machine."""
