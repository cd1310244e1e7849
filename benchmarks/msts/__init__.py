"""The standing experiment on MSTS: who learns what people say, and how far it travels."""
