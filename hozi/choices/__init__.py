"""Settings that people change in the browser: typed, explained, with their history."""
