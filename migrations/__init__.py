"""The schema's history: numbered plain SQL files and the runner that applies them."""
