"""The parts of million_rows.py."""
