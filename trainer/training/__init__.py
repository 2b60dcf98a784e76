"""The training loop: start state, step, schedule, saving, outcome."""
