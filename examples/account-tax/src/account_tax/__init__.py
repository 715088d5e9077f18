"""Account and tax classes from line items, as a Kedro project."""
