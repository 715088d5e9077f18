"""The grammars of console lines: one file each, from text to a `Row` of numbers, a setting or an event."""
