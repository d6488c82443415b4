"""Dialects: frames of a telephone system in, what they mean out; each file one family of wires."""
