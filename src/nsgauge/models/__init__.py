"""Towers, adapters, windows, fusion, head: everything that is a torch module."""
