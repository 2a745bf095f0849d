"""What stands in a SQL text: its tokens, statements and calls, what they refer to, and the queries that they run."""
