"""Comparing the live rows of views with what the events give."""
