"""The ledger: an SQLite index over the spool, which can be deleted and rebuilt to the same content."""
