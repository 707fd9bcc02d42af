"""Measurements, never tests: each prints one JSON line with what it measured, the target, and whether it is met."""
