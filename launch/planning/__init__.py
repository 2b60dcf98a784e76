"""`regionstack plan`: jobs, steps, bytes and time of a run, estimated before it starts."""
