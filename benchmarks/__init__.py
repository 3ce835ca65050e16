"""One program a question; each ends with a line of JSON. RESULTS.md keeps what they said."""
