"""One brokerage account as Alpaca keeps it: orders, fills, its own book, and what it refuses."""
