"""MSTS: its tree of files, and its labels."""
