"""Indexes of documents behind the server's routes: those in one folder, with the models that are served."""
