"""The study of Chaudhry et al. 2022: linearity of layers under mixup and ICT[K]. `study` is read first."""
