"""Checks on tokenizer, padding and embeddings."""
