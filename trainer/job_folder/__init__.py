"""What a job keeps on disk: checkpoints, its journal, heartbeats, the count of attempts."""
