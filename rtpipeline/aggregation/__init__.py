"""Stage aggregation: the cohort's tables."""
