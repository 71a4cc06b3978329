"""What the dashboard's benchmark is made of: a large company, a running dashboard, readers in a real browser."""
