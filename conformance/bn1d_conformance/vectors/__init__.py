"""The kit's questions as files, for an implementation that no process of the kit's can call."""
