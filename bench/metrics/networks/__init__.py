"""Networks of our own metrics, one per file, with the state-dict names of the published checkpoints."""
