"""Neural collapse of the last layer: NC0 to NC4, and other tools' variants."""
