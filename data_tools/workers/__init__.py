"""A pool of worker processes that survives the death of any of them."""
