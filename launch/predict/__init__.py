"""`regionstack predict`: sources to answers, streamed into files."""
