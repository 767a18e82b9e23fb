"""Providers of carbon intensities: one file for each, all with the interface in ``base``."""
