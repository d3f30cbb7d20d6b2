"""One described run, from data to records: what the command line and the papers' studies are made of."""
