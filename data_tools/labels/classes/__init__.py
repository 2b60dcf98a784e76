"""Classes of a data set: their names, weights, and splits that keep their shares."""
