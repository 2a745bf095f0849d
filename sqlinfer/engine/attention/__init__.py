"""Attention over packed, paged and shared-prefix caches."""
