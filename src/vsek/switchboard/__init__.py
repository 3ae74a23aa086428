"""The owner of all live state: one input queue, journal, timers, command lanes, recovery."""
