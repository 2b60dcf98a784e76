"""A finished run used for prediction: the ensemble in Python and the exported SavedModel."""
