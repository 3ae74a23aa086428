"""Distribution of calls to agents: who gets which call, and when. Pure, see ``docs/acd.md``."""
