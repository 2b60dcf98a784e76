"""MLflow's and Requests' errors in a few words."""

import pytest

from launch.watching.tracking.server import reason_of

POOL = "API request to http://h/api failed with exception HTTPConnectionPool(host='h', port=5000): "


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (POOL + "Read timed out. (read timeout=5)", "no answer in time"),
        (POOL + "Max retries exceeded (Caused by NewConnectionError('[Errno 111] Connection refused'))", "refused"),
        (POOL + "Max retries exceeded (Caused by NameResolutionError(\"Failed to resolve 'h'\"))", "does not resolve"),
        (POOL + "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", "not trusted"),
        ("API request to endpoint /x failed with error code 401 != 200. Response body: 'no'", "MLFLOW_TRACKING_TOKEN"),
        ("API request to endpoint /x failed with error code 403 != 200. Response body: 'no'", "refuses"),
        ("RESOURCE_DOES_NOT_EXIST: No Run with id=1 exists\nmore", "RESOURCE_DOES_NOT_EXIST: No Run with id=1 exists"),
        ("", "ValueError"),
    ],
)
def test_what_is_printed_of_an_error(text: str, reason: str) -> None:
    found = reason_of(ValueError(text))
    assert reason in found
    assert "\n" not in found
    assert len(found) <= 200
