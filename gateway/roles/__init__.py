"""One module per role: what a process of the gateway does from start to stop."""
