"""A finished run used for prediction: the ensemble in Python, and the answer about a page."""
