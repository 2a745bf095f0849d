"""Passes over the text of a statement, and what they share. Know no session, no store and no engine."""
