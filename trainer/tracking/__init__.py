"""Curves of a running job as TensorBoard event files."""
