"""What `swell doctor` finds."""
