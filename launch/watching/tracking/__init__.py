"""A run on an MLflow server: followed from its folder, by a process of its own."""
