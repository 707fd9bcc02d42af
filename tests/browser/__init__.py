"""The app as its users meet it: a real server, a real browser."""
