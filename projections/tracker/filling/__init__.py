"""Filling the tracker."""
