"""Bars in, arrays out: validation, indicators and the regime."""
