"""The report: rates, agreement, calibration and controls as a page, as JSON and as CSV.

`build_report` computes a `Report` from tables in memory, `write_report` writes it, and
`report_from_folders` does both for a data folder and a score folder.
"""
