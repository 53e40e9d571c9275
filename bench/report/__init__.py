"""A run for readers: one self-contained page, and figures that go into a paper."""
