"""Reports of a run: every change with its before and after, as CSV, XLSX or NDJSON."""
