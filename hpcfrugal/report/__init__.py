"""Reports from the ledger: sums that say what was measured, what was modelled and what is not known."""
