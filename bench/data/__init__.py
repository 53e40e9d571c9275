"""Where pixels come from: decoding, pairing, datasets."""
