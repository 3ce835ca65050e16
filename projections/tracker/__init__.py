"""The Activity Tracker: one row for each run."""
