"""Work that is done in the background: a queue in PostgreSQL, and the worker that takes from it."""
