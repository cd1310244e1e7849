"""A look at a data folder before any work: what is in there, what will go wrong, what to do."""

from nsgauge.data.doctor.contents import Diagnosis, Finding, Severity
from nsgauge.data.doctor.examination import examine
from nsgauge.data.doctor.texts import TextReader

__all__ = ["Diagnosis", "Finding", "Severity", "TextReader", "examine"]
