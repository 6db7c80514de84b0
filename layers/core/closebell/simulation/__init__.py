"""The world that closebell is tried in: markets with prices, an exchange that trades on them, tables and files in memory.

`market` says what a market is; the demo's real prices, daily bars and the `synthetic` one are such. `exchange` trades on any.
"""
