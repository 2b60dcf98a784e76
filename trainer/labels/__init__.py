"""How likely each label is wrong: confident learning on outputs of models that did not learn from the label."""
