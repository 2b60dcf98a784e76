"""The layouts of the sixteen drawn classes, one module per family."""
