"""The page of `regionstack survey`: charts, sample pages, duplicates and unusable pages of a data set."""
