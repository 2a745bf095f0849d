"""Batches: rows that share forward passes."""
