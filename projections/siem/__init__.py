"""The log for security monitoring (SIEM): who changed which record, as OCSF events."""
