"""Alert rules that a team writes itself: conditions over signals, forecasts and risks."""
