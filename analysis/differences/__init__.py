"""What differs between trials, specs or searches."""
