"""One module for each revision, named `rNNNN_what_changes`; one that was published is never edited."""
