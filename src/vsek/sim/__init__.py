"""The distribution in virtual time: what waiting times would be. See ``docs/sim.md``."""
