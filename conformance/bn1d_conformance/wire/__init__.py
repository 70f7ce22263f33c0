"""The wire: JSON lines to a worker process that has the layer, in any language."""
