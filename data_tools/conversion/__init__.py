"""Conversion of labelled pages to shards: the plan, the work, and what a killed run left behind."""
