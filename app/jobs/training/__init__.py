"""The job `train`: from labelled images to a version with every score fitted; stages in `prepare`, `train`, `fit`."""
