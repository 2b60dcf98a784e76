"""The run folder: its record, its status, its progress and who drives it."""
