"""Whether a result is skill: trials, a sealed holdout, statistics of luck, stress, and a verdict."""
