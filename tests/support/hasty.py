"""Executed before a command: code that may import what it needs gets two and a half seconds at least, and not ten."""

from bench.catalog import helper_process

helper_process.LEAST_PATIENCE = 2.5
