"""Facts collected from every host, and the findings drawn from them before a job starts."""
