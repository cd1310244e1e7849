"""The picture world: real drawings of two hundred things, and answers that may misread them."""
