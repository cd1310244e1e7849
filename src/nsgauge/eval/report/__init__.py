"""The page, its JSON twin and its tables."""
