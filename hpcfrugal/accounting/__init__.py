"""Arithmetic of energy accounting: pure functions, in integers, without clock, files or settings."""
