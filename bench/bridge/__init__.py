"""What the harness offers to `iqpir`: hosts for a score, and members of a quality prior."""
