"""Coverage and width of every rate interval, over a grid of simulated pools."""
