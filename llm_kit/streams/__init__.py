"""What users hold: the streams, and the wrappers around any stream."""
