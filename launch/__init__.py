"""What a person starts: the command line, the recipe as a plan, the run folder, the report."""
