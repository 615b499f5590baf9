"""Plain Python: no Django, no database. Everything here can be tested alone."""
