"""lm-eval and lmms-eval, whose sample files are alike."""
