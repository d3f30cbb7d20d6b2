"""Page of runs: findings, tables and figures."""
