"""Looks at the repository every few seconds, for whoever cannot call Models.Load."""

import asyncio
import logging

from pupil_server.repository import Repository

log = logging.getLogger("pupil.repository")


async def follow(repository: Repository, seconds: float) -> None:
    """Takes up what has changed in the folder, until cancelled. What is still being copied is left alone."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await repository.rescan(only_still=True)
        except Exception:  # the next look may go better, and a follower that died would be missed too late
            log.exception("a look at the repository failed")
