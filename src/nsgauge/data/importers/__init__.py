"""Readers of other formats, one format a file."""
