"""How weights move: the optimizer, its learning rate at a step and by layer, averaged weights."""
