"""What one training job does: model, loop, checkpoints, evaluation, stacking."""
