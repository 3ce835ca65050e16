"""Tamper evidence: each account's log as a signed Merkle tree, in the formats of transparency logs."""
