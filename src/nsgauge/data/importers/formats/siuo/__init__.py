"""SIUO: runs of three responses an item, and what their judges wrote."""
