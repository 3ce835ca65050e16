"""Runs that ended, to the jobs that tell of them."""
