"""The demo: a real data-management history, recorded by the public client and read back by the public command."""
