"""What a script would compute, and a preview of what a model answers."""
