"""Many jobs: their table, their ledger, the runs over them, and the report."""
