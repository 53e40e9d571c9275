"""Bringing weights and data to this machine, once, checked; everything else runs offline."""
