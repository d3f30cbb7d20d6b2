"""Figures of every kind, one module a kind: lines with bands, curves, reliability, plane, layers, channels."""
