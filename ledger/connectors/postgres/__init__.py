"""PostgreSQL tables as a target: what the catalogue says, reading, compare-and-set writing, and capture."""
