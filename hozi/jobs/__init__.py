"""Durable background work: rows with a lease, and the loop that does them."""
