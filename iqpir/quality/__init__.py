"""Quality priors: how good an image is by an ensemble of no-reference metrics, as a score in [0,1] and a bin."""
