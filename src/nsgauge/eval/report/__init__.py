"""The report: rates, agreement, calibration and controls as a page, as JSON and as CSV.

`contents.build_report` computes a `Report` from tables in memory, `writing.write_report` writes
its files, and `writing.report_from_folders` does both for a data folder and a score folder.
`comparing.comparison_from_folders` sets two classifiers or two judges side by side. What the JSON
files hold is published in docs/*.schema.json, made by `schema`.
"""
