"""A Horovod world on Ray: its slots, its worker processes, and worlds that wait for their next job."""
