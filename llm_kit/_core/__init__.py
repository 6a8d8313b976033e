"""The rules: what a stream adds up to, and what one does next. Nothing here waits."""
