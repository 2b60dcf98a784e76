"""The environment that everything runs in: locked packages, and Horovod built for them."""
