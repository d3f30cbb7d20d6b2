"""The layer-peeled model: its flow, optima and stationary points."""
