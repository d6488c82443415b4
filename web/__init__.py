"""The microphone page: static files, served by `server.app`."""
