"""What makes checkpoint versions: fitting on labelled data, and the report on rows that were not fitted."""
