"""From stored rows to numbers that people read."""
