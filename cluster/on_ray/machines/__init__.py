"""Machines of a cloud, which come when they are requested and go when the cloud takes them back."""
