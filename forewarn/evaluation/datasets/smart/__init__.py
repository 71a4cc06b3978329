"""Disks' SMART attributes in start/stop form: history, features of change, ranking and recall within a budget."""
