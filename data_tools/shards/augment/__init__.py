"""Random changes of training pages: each page alone, and two pages mixed."""
