"""What a RunQuery asks of a run, as conditions in SQL."""
