"""One model that learns the answers of a run's stack: the teacher's outputs, and what is measured of the student."""
