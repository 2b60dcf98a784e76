"""The file formats of pages: what their headers say, and one door each to Pillow and PDFium."""
