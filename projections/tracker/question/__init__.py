"""The SQL of one question to the tracker."""
