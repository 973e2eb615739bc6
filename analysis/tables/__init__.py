"""Tables of trials: chosen, sorted, grouped, of several searches; their forms; histories for other tools."""
