"""Projections: code that turns events into read models, the tables that it fills, and their readers."""
