"""HTTP over the serving layer: one file a dialect, one error table, health and metrics."""
