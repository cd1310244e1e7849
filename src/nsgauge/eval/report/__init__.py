"""The report: rates, agreement, calibration and controls as a page, as JSON and as CSV.

`contents.build_report` computes a `Report` from tables in memory, `writing.write_report` writes
its files, and `writing.report_from_folders` does both for a data folder and a score folder.
"""
