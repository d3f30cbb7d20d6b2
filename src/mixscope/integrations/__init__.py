"""The instruments inside other people's training: torchmetrics and Lightning, each loaded only when it is asked for."""
