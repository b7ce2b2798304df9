"""The queue in front of the device: which requests are let in, which goes next, and what makes a batch."""
