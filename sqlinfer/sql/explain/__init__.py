"""What a script would ask, and a preview of what a model answers."""
