"""Jobs, slots and groups as plain values, and the scheduler that runs them on any backend. Ray is not imported here."""
