"""The event store: the only door to the events table."""
