"""The Python streaming client: `stream` is the library, `python -m client` the terminal program."""
