"""How a producer's program sends runs: values to exact lines, lines to the ledger. The face of it is ledger.client."""
