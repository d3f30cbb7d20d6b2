"""What is measured, one topic a module; pure functions and constant-memory statistics."""
