"""Classical restoration: functions of one image, float32 [H,W,3] in [0,1] → the same, each with its source.

Deterministic, independent of threads, any size from 1×1 up. Options are keyword arguments; their defaults and ranges
are declared in `bench/catalog/methods/classical.yaml`, which the adapter checks before a function is called.
"""
