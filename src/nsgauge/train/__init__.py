"""Fitting a classifier: loss, lightning module, calibration, thresholds."""
