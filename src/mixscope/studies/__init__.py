"""Four papers' findings, checked: each study holds its claims, its runs, its figures and its deviations."""
