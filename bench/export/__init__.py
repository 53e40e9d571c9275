"""A run for other tools: rows, images, detections."""
