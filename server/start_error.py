"""Why a command cannot do its work, in one line, and the exit code that the README lists."""

EXIT_SETTINGS, EXIT_MODEL, EXIT_KEYS, EXIT_DATA, EXIT_PORT = 2, 3, 4, 5, 6


class StartError(Exception):
    """The text is one line for whoever gave the command."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code
