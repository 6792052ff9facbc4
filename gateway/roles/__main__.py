"""`python -m gateway.roles ROLE`: how `gateway run` starts its roles; the settings are in the environment."""

from __future__ import annotations

import sys

from gateway.core.settings import read_settings
from gateway.roles.process import run_role

run_role(sys.argv[1], read_settings())
