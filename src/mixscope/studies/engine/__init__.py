"""What runs, judges and writes studies."""
