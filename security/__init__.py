"""Secrets, tokens, sealed models and the audit trail; imports nothing else of Earwitness."""
