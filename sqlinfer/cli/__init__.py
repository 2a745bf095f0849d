"""The sqlinfer command; knows no torch and no SQL text surgery."""
