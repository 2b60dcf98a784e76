"""Following a run: what a terminal shows, and what an MLflow server gets."""
