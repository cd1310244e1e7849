"""The saved classifier: manifest, bundle, card, export."""
