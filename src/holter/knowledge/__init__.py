"""Tables of what is publicly known, each row with its source: model families, library versions."""
