"""From scores to plans: vote, risk checks, sizing, exits. Pure functions; nothing here asks the world or the clock."""
