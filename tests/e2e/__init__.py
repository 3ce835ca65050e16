"""The whole product as its users meet it: real processes, the real command, real data."""
