"""`regionstack serve`: classify uploaded files over HTTP, with Ray Serve replicas of a run's models."""
