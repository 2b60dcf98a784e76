"""The training loop: start state, step, saving, outcome."""
