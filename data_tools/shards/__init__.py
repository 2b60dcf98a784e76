"""What training reads: records, manifests, the order of an epoch, and the batch reader."""
