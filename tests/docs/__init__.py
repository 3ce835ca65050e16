"""What the docs say works."""
