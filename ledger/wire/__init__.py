"""JSON to commands and back: one definition for HTTP, command line and client."""
