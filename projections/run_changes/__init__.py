"""Which positions belong to which run, with what is needed to search them."""
