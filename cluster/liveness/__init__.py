"""Who is alive: processes, the driver's lease, heartbeats, and the worker that a job runs in."""
