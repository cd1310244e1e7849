"""The one error hierarchy: what a user can mend is an NsgaugeError, anything else is a bug.

    NsgaugeError
      SettingsError     a recipe, preset, override or command-line option is wrong
      DataError         a data folder or table is missing, malformed or inconsistent
        ImageError      one image can't be used; `code` is a short stable reason
      JudgeError        a judge's endpoint can't be reached, or refuses every question
      TrainingError     a training can't go on
      BundleError       a saved classifier is missing, damaged, hostile or of another format
      ScoringError      a scoring run can't start, resume or finish
      StatisticsError   the numbers asked for are undefined on these rows

The command line catches NsgaugeError, prints its one line and exits with 2. A message says what
was found, what was wanted and what to do.
"""


class NsgaugeError(Exception):
    """Base of every error that the user can mend."""


class SettingsError(NsgaugeError):
    """A recipe, preset, override or option is wrong."""


class DataError(NsgaugeError):
    """A data folder or table is missing, malformed or inconsistent."""


class ImageError(DataError):
    """One image can't be used.

    Args:
        code: Short stable reason, for counting: `missing`, `unreadable`, `too_large`...
        detail: What was found and what to do.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class JudgeError(NsgaugeError):
    """A judge's endpoint can't be reached, or refuses every question."""


class TrainingError(NsgaugeError):
    """A training can't go on; what it had learned by its last snapshot is kept."""


class BundleError(NsgaugeError):
    """A saved classifier is missing, damaged, hostile or of another format."""


class ScoringError(NsgaugeError):
    """A scoring run can't start, resume or finish."""


class StatisticsError(NsgaugeError):
    """The numbers asked for are undefined on these rows."""


def installing(extra: str) -> str:
    """How to get an extra: the package lies on no index."""
    return f"pip install '.[{extra}]' in a clone of nsgauge"
