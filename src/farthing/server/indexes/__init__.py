"""The indexes of documents behind the server's routes, in one folder, with the models that are served."""
