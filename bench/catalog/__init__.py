"""What exists: methods, datasets, metrics, protocols and detectors, by name; papers' numbers; users' own code."""
