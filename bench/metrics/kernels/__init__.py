"""Loops over pixels, compiled by Numba when they are first needed. Imported inside functions: Numba takes its time."""
