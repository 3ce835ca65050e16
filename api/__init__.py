"""The HTTP API and the pages: input in, one service call, output out."""
