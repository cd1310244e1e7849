"""VLMEvalKit: result files, what their names tell, and what is a verdict."""
