"""The log: lines of JSON on standard error, as the hub reads them. Secrets are struck out."""
import datetime
import json
import logging
import sys
import urllib.parse

REASON = 2 << 10  # bytes of a text that operators are shown
secrets = set()   # what must never be told; whoever adds to it puts a new set here


def hide(text):
    for secret in sorted(secrets, key=len, reverse=True):
        for form in (secret, json.dumps(secret)[1:-1], urllib.parse.quote_plus(secret), urllib.parse.quote(secret, "")):
            text = text.replace(form, "***")
    return text


def wire(text):
    """A text for the wire, where one byte that is not UTF-8 would cost the whole answer."""
    return hide(text).encode("utf-8", "replace")[:REASON].decode("utf-8", "ignore")


def reason(error):
    return wire(str(error) or type(error).__name__)


class Lines(logging.Formatter):
    def format(self, record):
        level = {"WARNING": "warn", "CRITICAL": "error"}.get(record.levelname, record.levelname.lower())
        at = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        line = {"@level": level, "@message": record.getMessage(), "@timestamp": at.isoformat(), "logger": record.name}
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return json.dumps({name: hide(text) for name, text in line.items()})


def begin():
    """Makes Python's own loggers write such lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
