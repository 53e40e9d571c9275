"""The optimised plan behind `IQPIR.optimize`: the same results as the plain network's, computed faster.

Nothing but speed is decided here; tests/benchmarks/iqpir_speed.py measures what it gains beside the plain network.
"""
