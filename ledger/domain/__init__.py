"""The pure core: values, events and the Run aggregate. No I/O, no third-party package but eventsourcing.domain."""
