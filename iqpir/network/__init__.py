"""The networks of IQPIR: autoencoder with one or two codebooks, code predictor, fidelity blocks, discriminator."""
