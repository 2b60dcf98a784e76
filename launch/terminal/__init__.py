"""What a person reads on a terminal: messages and tables, output files, progress, wording."""
