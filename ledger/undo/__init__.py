"""Undo: what a run changed is put back, without harming what happened since. The rules: docs/undo.md."""
