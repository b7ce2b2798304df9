"""The queue before the device: who is let in, who goes next, and what makes a batch."""
