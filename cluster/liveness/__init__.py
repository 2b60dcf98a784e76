"""Which processes are alive: the driver's lease, fences, heartbeats, and the code around a job in its worker."""
