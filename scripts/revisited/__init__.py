"""Claims of the five reports as trials, one file a system; `reports_revisited.py` runs them."""
