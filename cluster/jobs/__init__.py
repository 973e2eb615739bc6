"""Jobs of a cluster: queues, sites, what is asked of them, and where a search stands in a queue."""
