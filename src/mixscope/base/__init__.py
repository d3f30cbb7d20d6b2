"""What every room stands on: errors, checks, files, named generators, simplex frames."""
