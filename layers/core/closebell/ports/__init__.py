"""What the desk needs from the world, as Protocols. Every error that leaves an implementation is one of `model.errors`."""
