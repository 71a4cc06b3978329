"""Parts of the storm benchmark."""
