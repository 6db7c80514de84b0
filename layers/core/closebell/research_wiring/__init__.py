"""Builders of the functions that simulate. The live wiring cannot import the simulation; nothing live imports this."""
