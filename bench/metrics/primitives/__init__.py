"""Arithmetic that several metrics are made of."""
