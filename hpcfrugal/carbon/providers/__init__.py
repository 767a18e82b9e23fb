"""Who tells carbon intensities: one file for each, all behind the protocol in ``base``."""
