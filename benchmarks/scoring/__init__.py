"""Speed, memory and durability of scoring, as ratios within one run."""
