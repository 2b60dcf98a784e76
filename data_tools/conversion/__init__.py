"""Conversion of labeled pages to shards: plan, work, and resumption after a kill."""
