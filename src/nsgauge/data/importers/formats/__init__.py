"""One module or package a format: its files to records, and what their columns mean."""
