"""What was found: the store, outputs on disk, the record of a run, and the view that every reader takes."""
