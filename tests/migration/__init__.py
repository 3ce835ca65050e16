"""The migration runner and the schema that it leaves."""
