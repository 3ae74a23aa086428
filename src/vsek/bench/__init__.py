"""Measured side by side: vsek, Asterisk's own ``Queue()`` and bare ``Dial()``."""
