"""What a student learns from: probabilities that a teacher has given to each training page, and the loss on them."""
