"""Collects facts about every host before a job starts, and checks them."""
