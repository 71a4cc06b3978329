"""Windows, features and labels of history."""
