"""The gate: what a run gave against what it gave before, as findings with an exit code."""
