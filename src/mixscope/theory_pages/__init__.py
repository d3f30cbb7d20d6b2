"""Pages of theory: chapters, figures and tables of each model."""
