"""A recurrent model of controlled mechanical systems: a GRU that is read anew at every step."""
