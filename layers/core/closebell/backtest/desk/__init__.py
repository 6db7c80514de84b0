"""The desk through past sessions: the deployed decisions at the schedule's instants, on an exchange that is followed."""
