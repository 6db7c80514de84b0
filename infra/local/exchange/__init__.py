"""The simulated exchange over HTTP: Alpaca's trading and data API on loopback, moved by a virtual clock."""
