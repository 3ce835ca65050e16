"""The `ledger` command: reads input, calls one service method, shapes output. What imports slowly is imported late."""
