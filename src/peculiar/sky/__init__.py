"""Pixels: stretch, fit, made and planted objects. Arrays in, arrays out."""
