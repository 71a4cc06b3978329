"""Public data sets, each scored by its own metric and split: `registry.DATASETS` names them."""
