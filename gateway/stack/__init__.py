"""The embedded default: real Kafka, Temporal and PostgreSQL as child processes, from packages alone (design §5).

    from gateway.stack import Stack, StackSettings

    with Stack(StackSettings()).up() as addresses:
        …                       # addresses.kafka, .temporal, .postgres, .temporal_ui

Each server: the address in the settings, else a program already installed, else the SDK's own download, else the
packaged way. Larger set-ups give addresses in the same settings; nothing else changes.

Tested on Linux (glibc 2.28 or later, x86-64); written for macOS too. Not for Windows: file locks and process groups.
"""

from __future__ import annotations

from gateway.stack.settings import NAMESPACE, PARTS, Addresses, Part, StackSettings
from gateway.stack.skipping import time_skipping_server as test_server
from gateway.stack.stack import Stack, addresses_of

__all__ = ["NAMESPACE", "PARTS", "Addresses", "Part", "Stack", "StackSettings", "addresses_of", "test_server"]
