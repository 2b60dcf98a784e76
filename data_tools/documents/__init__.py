"""What a person brings: label files, page images, and the regions cut from each page."""
