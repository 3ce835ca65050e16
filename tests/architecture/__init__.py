"""Rules that hold for the whole code, kept by reading it."""
