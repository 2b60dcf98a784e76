"""Labels as people have them: label files, tables, folder trees, class names, and the split of a list."""
