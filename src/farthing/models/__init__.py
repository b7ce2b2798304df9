"""Model families as functions of packed batches. A new family is one file and one row in `families`."""
