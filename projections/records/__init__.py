"""Each record with its last change."""
