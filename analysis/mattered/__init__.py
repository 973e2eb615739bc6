"""Which choice mattered: levels of a factor beside each other, importance, interactions, seeds, and early stopping."""
