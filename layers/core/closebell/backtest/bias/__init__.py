"""Whether what decides from bars knows the future, or needs more of the past than it says."""
