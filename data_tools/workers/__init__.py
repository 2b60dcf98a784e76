"""A pool of worker processes that tolerates the death of any of them."""
