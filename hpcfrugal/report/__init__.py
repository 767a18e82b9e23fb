"""Reports from the ledger: sums that keep measured, modelled and unknown energy apart."""
