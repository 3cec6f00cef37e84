"""One file a stage: open, loop, call science, write."""
