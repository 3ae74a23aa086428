"""Shared primitives: ids, numbers, clients, agents, outcomes, notes. Pure types, no I/O."""
