"""Many desks over the same bars: points, the search among them, the crews that trade them, and what is kept."""
