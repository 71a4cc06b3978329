"""The pages of the dashboard: what each asks, how its answer becomes a frame, which charts it has."""
