"""Counts per day, user and template."""
