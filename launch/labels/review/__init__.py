"""The review page: a person looks at the first pages of a ranking and decides about their labels."""
