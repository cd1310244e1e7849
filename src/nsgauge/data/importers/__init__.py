"""Readers of other formats: `registry` names them, `formats` has a module or package for each.

A format turns files into records (`reading`, `conversion`), says what their columns mean
(`mapping`) and leaves the rest to `rows`.
"""
