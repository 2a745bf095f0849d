"""From requests to token ids."""
