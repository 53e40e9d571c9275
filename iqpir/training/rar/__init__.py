"""Training of RAR: a latent, an assessor of it (S1), restorers told by the assessor (S2), both in rounds (S3)."""
