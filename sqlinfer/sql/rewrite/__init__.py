"""Passes over the text of a statement. Know no session, no store and no engine."""
