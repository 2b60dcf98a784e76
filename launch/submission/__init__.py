"""A run that is sent to a cluster from a machine outside it: `regionstack submit`."""
