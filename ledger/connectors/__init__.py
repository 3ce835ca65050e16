"""Connectors: our code that reads and writes one kind of target system, behind one port."""
