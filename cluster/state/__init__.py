"""The durable state of a search: its directory, its records, its study's storage."""
