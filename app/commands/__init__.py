"""The commands of `howsure`, one file a noun; `app/cli.py` puts them together."""
