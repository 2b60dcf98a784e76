"""Sections of the report that show the recipe at work: transfers, contributions of the regions, confident mistakes."""
