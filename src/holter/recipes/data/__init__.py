"""From text to batches: loading, reporting, splitting, tokenising once, grouping by length."""
