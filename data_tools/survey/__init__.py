"""Inspection of a data set before conversion: sizes, duplicates, leaks between splits, unreadable pages."""
