"""Confidence in a report: calibration, decisions, and selective prediction on the test pages."""
