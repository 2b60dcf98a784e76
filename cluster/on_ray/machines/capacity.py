"""Requests machines from an autoscaling cluster for as long as the drivers that need them live.

Ray keeps a request until another call replaces it, also after the driver that made it was killed: the machines would
stay rented. An actor on the head node therefore holds the requests of all drivers. Each driver renews its own; one that
has not been renewed for `STALE_S` is withdrawn, and the machines then become idle.
"""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Iterator

import ray
from ray.autoscaler.sdk import request_resources

from data_tools.errors import UserError

logger = logging.getLogger(__name__)

Bundles = list[dict[str, float]]

NAME, NAMESPACE = "capacity", "regionstack"
HEAD = {"node:__internal_head__": 0.001}
"""The resource that Ray gives to the head node alone. Workers come and go with the requests."""
RENEW_S = 5.0
STALE_S = 60.0
"""A driver that is busy or stopped for less than this keeps its machines; idle ones are kept for minutes anyway."""
ANSWER_S = 60.0


class Requests:
    """The bundles of each driver, and when it last renewed them; pure values."""

    def __init__(self, *, stale_s: float = STALE_S) -> None:
        self._stale_s = stale_s
        self._held: dict[str, tuple[Bundles, float]] = {}

    def renew(self, driver: str, bundles: Bundles, now: float) -> None:
        """Hold `bundles` for `driver` from `now`, seconds of any clock; no bundles withdraw its request."""
        if bundles:
            self._held[driver] = (bundles, now)
        else:
            self._held.pop(driver, None)

    def total(self, now: float) -> Bundles:
        """The bundles of all drivers that have renewed theirs in time."""
        self._held = {driver: held for driver, held in self._held.items() if now - held[1] <= self._stale_s}
        return [bundle for bundles, _ in self._held.values() for bundle in bundles]


class Keeper:
    """The actor: it passes the sum of the requests to the autoscaler whenever that changes."""

    def __init__(self, stale_s: float = STALE_S) -> None:
        self._requests = Requests(stale_s=stale_s)
        self._lock = threading.Lock()
        # Unknown: this actor may have been started again, and an earlier request still stand.
        self._asked: Bundles | None = None
        threading.Thread(target=self._run, args=(stale_s / 10,), daemon=True).start()

    def renew(self, driver: str, bundles: Bundles) -> int:
        """Hold the driver's bundles; returns how many bundles are requested for all drivers."""
        with self._lock:
            self._requests.renew(driver, bundles, time.monotonic())
            self._pass_on()
            return len(self._asked or ())

    def _run(self, every_s: float) -> None:
        pause = threading.Event()
        while not pause.wait(every_s):
            with self._lock:
                self._pass_on()

    def _pass_on(self) -> None:
        total = self._requests.total(time.monotonic())
        if total != self._asked:
            request_resources(bundles=total)
            self._asked = total


@contextlib.contextmanager
def held(bundles: Bundles, *, stale_s: float = STALE_S, renew_s: float = RENEW_S, name: str = NAME) -> Iterator[None]:
    """Keep `bundles` requested while the block runs and this process lives; Ray must be connected.

    name: of the actor that holds the requests of all drivers; the first one decides `stale_s`.

    Raises:
        UserError: the head node does not take the request.
    """
    driver, over = uuid.uuid4().hex, threading.Event()

    def keep() -> None:
        while not over.wait(renew_s):
            with _tolerated("renewed"):
                _renew(name, driver, bundles, stale_s)

    try:
        _renew(name, driver, bundles, stale_s)
    except ray.exceptions.RayError as error:
        raise UserError(f"the request for machines: {error}; see ray status on the head node") from None
    thread = threading.Thread(target=keep, name="capacity", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with _tolerated("withdrawn"):
            _renew(name, driver, [], stale_s)


def _renew(name: str, driver: str, bundles: Bundles, stale_s: float) -> None:
    options = {"name": name, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    actor = ray.remote(Keeper).options(num_cpus=0, resources=HEAD, max_restarts=-1, **options).remote(stale_s)
    ray.get(actor.renew.remote(driver, bundles), timeout=ANSWER_S)


@contextlib.contextmanager
def _tolerated(what: str) -> Iterator[None]:
    """Log an error of Ray: a head that is gone ends the run elsewhere, and one that is slow is asked again."""
    try:
        yield
    except (ray.exceptions.RayError, ConnectionError, ValueError) as error:
        logger.info("the request for machines is not %s (%s)", what, error)
