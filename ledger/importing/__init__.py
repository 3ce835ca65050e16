"""Importing whole runs from a file: a run a line, resumed where an import before it stopped."""
