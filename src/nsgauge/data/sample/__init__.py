"""The built-in world: drawn pictures, answers and verdicts, made from a seed."""

from nsgauge.data.sample.world import SampleSettings, write_sample

__all__ = ["SampleSettings", "write_sample"]
