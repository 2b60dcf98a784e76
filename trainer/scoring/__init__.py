"""Predictions on disk and the figures computed from them."""
