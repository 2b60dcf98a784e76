"""The recipe as a list of jobs, and what has to exist before they start."""
