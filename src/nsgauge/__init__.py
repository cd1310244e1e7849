"""nsgauge: a small classifier in place of an LLM judge of vision-language safety."""
