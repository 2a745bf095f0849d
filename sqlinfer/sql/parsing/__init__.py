"""What stands in a SQL text: tokens, statements, calls, and what they refer to. Changes no statement."""
