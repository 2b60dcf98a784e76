"""The report and the other HTML pages, from figures to charts."""
