"""Detectors, boxes and average precision; which images and which annotations is the business of others."""
