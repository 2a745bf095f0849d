"""What outlives a run, in one SQLite file: models, answers, jobs; knows no torch, no SQL of the user's."""
