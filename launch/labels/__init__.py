"""Which labels are wrong, and which pages to label next: scores, a ranking of all pages, its file."""
