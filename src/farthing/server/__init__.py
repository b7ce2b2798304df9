"""HTTP over the serving layer: one folder per dialect, one error table, health and metrics."""
