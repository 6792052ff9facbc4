"""The MLLP listener: carries frames in, says who sent them, answers in order, and never says yes too early.

listener     ports, caps, TLS, sweep of idle and slow peers, drain
connection   one peer: frames in, answers out in the order of the questions
exchange     one message: sender binding, duplicates, codec, accept, answer
duplicates   the window of recent messages
deadline     one timer for all that wait for the durable store
"""

from __future__ import annotations

from .exchange import Inquire, Observe, Respond
from .listener import Listener

__all__ = ["Inquire", "Listener", "Observe", "Respond"]
