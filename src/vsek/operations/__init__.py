"""How a running switchboard is watched: what ties health, metrics and alarms to the servers."""
