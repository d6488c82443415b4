"""Engines: audio in, words out; each file one runtime."""
