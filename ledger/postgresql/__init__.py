"""The embedded PostgreSQL: finding the programs, the system user, the cluster's folder, the server and its supervisor.

`ledger.embedded` is the door to it; nothing else imports from here.
"""
