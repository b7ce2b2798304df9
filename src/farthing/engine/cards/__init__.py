"""What computes with torch: cards, and the same on a CPU to compare with. Nothing else in engine needs torch."""
