"""Features of blended examples: channels, linearity of layers, intrusion of third classes."""
