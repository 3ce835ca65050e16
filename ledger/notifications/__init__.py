"""Telling people and programs that a run has ended: rules, e-mail with the report, signed webhooks."""
