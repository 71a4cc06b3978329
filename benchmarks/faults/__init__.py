"""The fault suite: numbered load through a real embedded stack, faults against it, and what came of each sample."""
