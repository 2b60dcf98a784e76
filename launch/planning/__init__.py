"""`regionstack plan`: what a run would do, take and cost, before anything starts."""
