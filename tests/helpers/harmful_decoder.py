"""A decoder for the service's processes that does what the file says: hang, crash, fail, or answer."""

import os
import signal
import time

from data_tools.workers.child import Handler, Items
from launch.service.decoder import Decoded, Rejection, Setup


def open_decoder(setup: Setup) -> Handler:
    """The handler; its answers are rejections with the file's content as text."""

    def handle(task: tuple[bytes, bool], items: Items) -> Decoded:
        content, _ = task
        poisonous = items.begin(0)
        if poisonous is not None:
            items.end()
            return Rejection("failed", poisonous)
        if content == b"hang":
            time.sleep(60)
        if content == b"crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if content == b"bug":
            raise ZeroDivisionError
        items.end()
        return Rejection("unreadable", content.decode())

    return handle
