"""Weights, configuration, device: what is loaded, and what it needs."""
