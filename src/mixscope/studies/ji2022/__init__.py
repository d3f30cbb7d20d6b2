"""The study of Ji et al. 2022: neural collapse without regularisation. `study` is read first."""
