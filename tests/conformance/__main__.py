"""`python -m tests.conformance`: every check against other implementations, one after the other."""

from __future__ import annotations

import sys

from tests.conformance import hapi_accepts

sys.exit(hapi_accepts.main())
