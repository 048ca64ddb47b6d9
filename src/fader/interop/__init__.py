"""Models that others made, as model folders."""
