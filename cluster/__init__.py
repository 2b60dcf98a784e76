"""Where jobs run: slots, groups, schedules, Ray, and the set-up of hosts."""
