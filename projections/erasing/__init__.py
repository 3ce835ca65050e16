"""What an erasure changes in the views."""
