"""Small real things the tests of several rooms share."""
