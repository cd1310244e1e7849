"""Tables, importers, images, targets, splits and the built-in sample."""
