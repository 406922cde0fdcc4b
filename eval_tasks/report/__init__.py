"""From finished runs to tables, plots, a page, and a leaderboard entry."""
