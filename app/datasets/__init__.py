"""Labelled data for jobs: content-addressed uploads, and folders of this machine by name."""
