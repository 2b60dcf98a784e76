"""The Ray backend: hosts, placement groups, and an attempt of a job as a Horovod world."""
