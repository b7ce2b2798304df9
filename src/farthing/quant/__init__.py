"""Weight formats: how a matrix is stored, and how it is multiplied with. One file a format, one row in `formats`."""
