"""Where an index lives: stores of passages and the databases that hold them, in a folder (LanceDB) or on Milvus."""
