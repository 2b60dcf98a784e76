"""Jobs, slots and groups as plain values, and the scheduler that runs them on any backend. Never imports Ray."""
