"""Jobs of a cluster: its queue, its site's file, what a launch asks of it, and where a search stands in the queue."""
