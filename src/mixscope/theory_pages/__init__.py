"""Pages of theory: sections, figures and tables of each model."""
