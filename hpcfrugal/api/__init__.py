"""What Python programs and the command line share: submitting, planning, and keeping a ledger up to date."""
