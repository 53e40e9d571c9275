"""Our own implementations of published networks, one file each, state-dict compatible with the official weights."""
