"""`regionstack distill`: the unlabelled pages, and the jobs of a student."""
