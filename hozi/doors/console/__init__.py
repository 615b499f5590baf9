"""The console: what people see in a browser. Pages ask `accounts.authorise`, call one function of a room, and show."""
