"""A key-encrypting key named by a URI, in; the pack key wrapped under it, or had back, out."""
