"""Erasing personal data from the log and from everything made of it; legal holds; retention. docs/erasure.md."""
