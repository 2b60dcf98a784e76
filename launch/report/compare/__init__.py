"""`regionstack compare`: what differs between runs, and whether it made a difference."""
