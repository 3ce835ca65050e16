"""How far each projection is, and who works on it."""
