"""Hozi: a PACS, and everything that the people who look after it need."""

__version__ = "0.1.0"
