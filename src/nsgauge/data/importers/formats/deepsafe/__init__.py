"""DeepSafe (uni_eval): its runs of VLSBench and SIUO."""
