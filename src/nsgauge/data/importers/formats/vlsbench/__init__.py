"""VLSBench: runs, judged or not, and the data set that they are joined with."""
