"""Input of training: records, index, manifest, the order of an epoch, and the batch reader."""
