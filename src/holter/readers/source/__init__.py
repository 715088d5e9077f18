"""Python source code, parsed and never run: settings, calls in their order, and facts about hand-written steps."""
