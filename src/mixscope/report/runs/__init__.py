"""The page of runs: findings, tables and figures."""
