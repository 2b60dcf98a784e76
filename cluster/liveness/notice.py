"""The notice that a cloud gives a spot machine before it takes it back: two minutes on Amazon, 30 seconds on Google.

Sources: "Spot Instance interruption notices" (Amazon EC2), "Preemptible VM instances: handle preemption" (Google
Compute Engine). Only the standard library is imported: the reader runs on every host for as long as a driver lives.
"""

import contextlib
import http.client
import json
import os
import urllib.error
import urllib.request

CLOUD, METADATA = "REGIONSTACK_CLOUD", "REGIONSTACK_METADATA"
"""Environment variables: the cloud that this machine is of (written by host.sh), and another address of its server."""
SERVERS = {"aws": "http://169.254.169.254", "gcp": "http://metadata.google.internal"}
ANSWER_S = 2.0
TOKEN_S = 21600


class NoticeReader:
    """Asks the metadata server of this machine."""

    def __init__(self, cloud: str, server: str | None = None) -> None:
        self._cloud, self._server = cloud, server or SERVERS[cloud]
        self._token: str | None = None
        # Metadata servers answer the machine itself, never a proxy.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @classmethod
    def of_this_machine(cls) -> "NoticeReader | None":
        """The reader for the cloud that `host.sh` has set this machine up for; None without one."""
        cloud = os.environ.get(CLOUD)
        return cls(cloud, os.environ.get(METADATA)) if cloud in SERVERS else None

    def read(self) -> str | None:
        """The notice in words; None where there is none, or where the server does not answer."""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            return self._amazon() if self._cloud == "aws" else self._google()
        return None

    def _amazon(self) -> str | None:
        try:
            token = self._token = self._token or self._get(
                "latest/api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
            )
            text = self._get("latest/meta-data/spot/instance-action", "GET", {"X-aws-ec2-metadata-token": token})
        except urllib.error.HTTPError as error:
            if error.code == http.client.UNAUTHORIZED:
                self._token = None  # it has expired; the next call gets another one
            return None  # 404: no notice
        action = json.loads(text)
        return f"Amazon will {action['action']} it at {action['time']}"

    def _google(self) -> str | None:
        preempted = self._get("computeMetadata/v1/instance/preempted", "GET", {"Metadata-Flavor": "Google"})
        return "Google preempts it" if preempted.strip() == "TRUE" else None

    def _get(self, path: str, method: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(f"{self._server}/{path}", method=method, headers=headers)
        with self._opener.open(request, timeout=ANSWER_S) as answer:
            return str(answer.read().decode())
