"""The built-in world: drawn pictures, answers and verdicts, made from a seed."""
