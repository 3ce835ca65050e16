"""The audit ledger: runs, changes and their events. Imports nothing of projections, api or cli."""
