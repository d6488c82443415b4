"""A refusal in; a line of plain text over HTTP out, as Python's WebSocket servers answer whom they
do not let in: the originals of vosk-server and WhisperLive are such servers.
"""

from server.dialects.translation import Answer
from server.errors import Refusal


def plain_answer(refusal: Refusal) -> Answer:
    """Its status, its text and, where that helps, when to come again."""
    headers = [("retry-after", str(refusal.retry_after_s))] if refusal.is_retryable else []
    body = f"{refusal.text}\n".encode()
    return Answer(refusal.http_status, body, headers, media_type="text/plain")
