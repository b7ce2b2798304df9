"""Indexes on Milvus."""
