"""Keeps indexes on Milvus."""
