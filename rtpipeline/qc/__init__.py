"""What a course is like at a glance: checks on everything that its stages left, and a page to look at."""
