"""Conformance: undo scenarios as data, and the player that judges a target by them. The format: docs/conformance.md."""
