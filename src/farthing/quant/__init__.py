"""Weight formats: how a matrix is stored, and how it is multiplied. One file for each format, one row in `formats`."""
