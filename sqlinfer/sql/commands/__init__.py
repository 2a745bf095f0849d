"""Statements of our own: models and settings in SQL."""
