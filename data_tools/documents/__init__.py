"""The user's input: label files, page images, and the regions cut from each page."""
