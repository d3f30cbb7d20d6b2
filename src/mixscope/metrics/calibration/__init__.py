"""Calibration of predicted probabilities, proper scores and temperature."""
