"""The study of Fisher, Meng and Papyan 2024: where mixup puts features. `study` is read first."""
