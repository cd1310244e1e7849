"""inspect_ai: logs, their samples and scores."""
