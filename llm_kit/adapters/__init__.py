"""Foreign items -> chunks, recognised by their shape; no SDK is imported."""
