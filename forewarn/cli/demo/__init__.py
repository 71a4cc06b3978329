"""`forewarn demo`: the whole of what Forewarn is for, in a few minutes."""
