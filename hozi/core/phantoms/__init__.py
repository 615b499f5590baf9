"""Invented images of invented people: so that a new archive has something to show, and tests something to send.

Everything is computed from formulas and a fixed seed. Nothing in it comes from a person.
"""
