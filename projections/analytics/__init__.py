"""The log for analysts: Parquet files, and SQL on them."""
