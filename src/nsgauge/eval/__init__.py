"""Scoring, and everything that is computed from scores and verdicts."""
