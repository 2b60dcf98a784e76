"""The Ray backend: hosts, placement groups, and one attempt of a job as a Horovod world."""
