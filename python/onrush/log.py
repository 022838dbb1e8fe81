"""Messages to the program's log, under the name "onrush"."""

import logging

logger = logging.getLogger("onrush")
_noted: set[str] = set()


def note_once(what: str) -> None:
    """Log at level INFO, the first time only, that something was accepted without effect."""
    if what not in _noted:
        _noted.add(what)
        logger.info("%s", what)
