"""What a message must be before anything is decided on it: one module for each inlet, and the door they share."""
