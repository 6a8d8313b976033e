"""The one floor that waits. It does what the rules ask, and decides nothing."""
