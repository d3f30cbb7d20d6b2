"""Networks for small images, each with a linear `head` and named sites."""
