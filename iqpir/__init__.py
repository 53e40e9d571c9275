"""IQPIR: image restoration conditioned on quality priors (the method; the harness lives in `bench`)."""
