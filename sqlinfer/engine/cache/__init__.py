"""KV caches: how keys and values of a batch are stored."""
