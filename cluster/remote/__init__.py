"""A cluster seen from a machine outside it: Ray's launcher there, and what it calls on the head node."""
