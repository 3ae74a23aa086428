"""The script of one call, from its arrival to its outcome. Pure: no I/O, no clock, no chance."""
