"""How an image is restored: one adapter per kind of method."""
