"""The tests: fixtures in conftest.py, values in examples.py, the checker in check_ledger.py."""
