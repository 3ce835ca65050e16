"""The log as projections read it: batches of decoded events."""
