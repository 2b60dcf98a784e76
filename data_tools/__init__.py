"""From scanned pages and label files to sharded TFRecords, and from those to batches."""

__version__ = "0.1.0"
