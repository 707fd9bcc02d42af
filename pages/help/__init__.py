"""Help: its topics, the tables in them that are made from the code, and the page."""
