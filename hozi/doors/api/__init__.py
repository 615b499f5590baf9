"""The rooms for programs: JSON over HTTP at `/api/`, described by OpenAPI. A door: it translates, asks, and answers."""
