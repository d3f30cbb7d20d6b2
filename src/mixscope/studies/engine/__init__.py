"""The engine that runs, judges and writes studies."""
