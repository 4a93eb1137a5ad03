"""Exit status 0 when the server in this container is ready."""

import sys
from http.client import HTTPConnection, HTTPException

connection = HTTPConnection("127.0.0.1", 8000, timeout=4)
try:
    connection.request("GET", "/readyz")
    sys.exit(connection.getresponse().status != 200)
except (OSError, HTTPException) as error:
    sys.exit(f"not ready: {error}")
