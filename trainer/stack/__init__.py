"""The stacked classifier over the members' outputs."""
